-- Generation: the queue of work, and the instances that work on it.
-- Owns: generation_jobs, instances
-- Reads:
--
-- A job is open while it is queued, waiting or running. Every claim bumps its lease, and whoever finishes names the
-- lease he holds: a worker that comes back from the dead changes nothing. Many rows at once are locked with SKIP
-- LOCKED, so nobody here waits for anybody but one row's holder.

-- name: ring(payload) :value
-- Wake the workers of every instance: there is work; or, with the id of a job, it was called off.
SELECT pg_notify('generation_jobs', $1) IS NOT NULL AS is_rung;

-- name: lock_person(user_id) :value
-- One order of a person at a time, so that the count of what he has open is exact.
SELECT pg_advisory_xact_lock(hashtextextended('generation_jobs', $1::bigint)) IS NOT NULL AS is_locked;

-- name: enqueue(job_id, user_id, chat_id, language, model_id, price_rub, prompt, timeout_s, at_once, now, most) :one
-- Put a job into the queue, the later the more of this person's are ahead of it, unless those are too many.
WITH ahead AS (
    SELECT count(*) AS jobs FROM generation_jobs
    WHERE user_id = $2 AND status IN ('queued', 'waiting', 'running')
),

written AS (
    INSERT INTO generation_jobs (
        job_id, user_id, chat_id, language, model_id, price_rub, prompt, timeout_s, at_once, place, created_at
    )
    SELECT
        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10::timestamptz + ahead.jobs * interval '10 seconds', $10::timestamptz
    FROM ahead
    WHERE ahead.jobs < $11
    ON CONFLICT (job_id) DO NOTHING
    RETURNING job_id
)

SELECT
    ahead.jobs AS ahead,
    EXISTS(SELECT FROM written) AS is_new,
    EXISTS(SELECT FROM generation_jobs AS known WHERE known.job_id = $1) AS is_known,
    TRUE AS is_kept
FROM ahead;

-- name: claim(instance_id, now, since, most_rub, batch) :many
-- Take what is due again, then what comes next in the queue from that place on; nothing dearer than that.
WITH due AS (
    SELECT job_id FROM generation_jobs
    WHERE status = 'waiting' AND due_at <= $2::timestamptz AND price_rub <= $4::numeric
    ORDER BY due_at
    LIMIT $5::bigint
    FOR UPDATE SKIP LOCKED
),

upcoming AS (
    SELECT job_id FROM generation_jobs
    WHERE status = 'queued' AND at_once IS NULL AND place >= $3::timestamptz AND price_rub <= $4::numeric
    ORDER BY place
    LIMIT $5::bigint - (SELECT count(*) FROM due)
    FOR UPDATE SKIP LOCKED
)

UPDATE generation_jobs AS job
SET
    status = 'running',
    instance_id = $1,
    lease = job.lease + 1,
    attempts = job.attempts + (CASE WHEN job.reference IS NULL THEN 1 ELSE 0 END),
    due_at = NULL,
    called_back_at = NULL,
    started_at = coalesce(job.started_at, $2::timestamptz),
    deadline_at = (
        CASE
            WHEN job.reference IS NULL THEN $2::timestamptz + job.timeout_s * interval '1 second'
            ELSE job.deadline_at
        END
    )
WHERE
    job.job_id = any(ARRAY(
        SELECT due.job_id FROM due
        UNION ALL
        SELECT upcoming.job_id FROM upcoming
    ))
RETURNING
    job.job_id, job.user_id, job.chat_id, job.language, job.model_id, job.price_rub, job.prompt, job.lease,
    job.attempts, job.reference, coalesce(job.deadline_at, job.place) AS deadline_at, job.progress_message_id,
    job.place, coalesce(job.started_at, job.place) AS started_at;

-- name: lock_limits() :value
-- One claim of limited models at a time, so that the count of those under way is exact.
SELECT pg_advisory_xact_lock(hashtextextended('generation_jobs.at_once', 0)) IS NOT NULL AS is_locked;

-- name: claim_limited(instance_id, now, most_rub, batch) :many
-- Take jobs of models that bear only so many at once, as many as there is room for. After lock_limits.
WITH RECURSIVE model AS (
    (
        SELECT model_id, at_once FROM generation_jobs
        WHERE status = 'queued' AND at_once IS NOT NULL
        ORDER BY model_id, place
        LIMIT 1
    )
    UNION ALL
    SELECT following.model_id, following.at_once
    FROM model
    CROSS JOIN LATERAL (
        SELECT job.model_id, job.at_once FROM generation_jobs AS job
        WHERE job.status = 'queued' AND job.at_once IS NOT NULL AND job.model_id > model.model_id
        ORDER BY job.model_id, job.place
        LIMIT 1
    ) AS following
),

upcoming AS (
    SELECT candidate.job_id, candidate.place
    FROM model CROSS JOIN LATERAL (
        SELECT job.job_id, job.place FROM generation_jobs AS job
        WHERE
            job.status = 'queued' AND job.at_once IS NOT NULL AND job.model_id = model.model_id
            AND job.price_rub <= $3::numeric
        ORDER BY job.place
        LIMIT greatest(model.at_once - (
            SELECT count(*) FROM generation_jobs AS busy
            WHERE busy.model_id = model.model_id AND busy.status IN ('running', 'waiting') AND busy.at_once IS NOT NULL
        ), 0)
        FOR UPDATE SKIP LOCKED
    ) AS candidate
    ORDER BY candidate.place
    LIMIT $4::bigint
)

UPDATE generation_jobs AS job
SET
    status = 'running',
    instance_id = $1,
    lease = job.lease + 1,
    attempts = job.attempts + 1,
    started_at = coalesce(job.started_at, $2::timestamptz),
    deadline_at = $2::timestamptz + job.timeout_s * interval '1 second'
WHERE job.job_id = any(ARRAY(SELECT upcoming.job_id FROM upcoming))
RETURNING
    job.job_id, job.user_id, job.chat_id, job.language, job.model_id, job.price_rub, job.prompt, job.lease,
    job.attempts, job.reference, coalesce(job.deadline_at, job.place) AS deadline_at, job.progress_message_id,
    job.place, coalesce(job.started_at, job.place) AS started_at;

-- name: put_off(job_id, lease, reference, progress_message_id, due_at, now) :exec
-- Look at it again then, or at once where the provider has called back meanwhile. The provider's task stays its own.
UPDATE generation_jobs
SET
    status = 'waiting',
    instance_id = NULL,
    reference = $3,
    progress_message_id = $4,
    due_at = CASE WHEN called_back_at IS NULL THEN $5::timestamptz ELSE $6::timestamptz END
WHERE job_id = $1 AND lease = $2 AND status = 'running';

-- name: finish(job_ids, leases, statuses, outputs, files, error_codes, error_messages, due_ats, now) :value
-- End these, each by the holder of its lease; the ids of those that were his to end.
WITH done AS (
    UPDATE generation_jobs AS job
    SET
        status = ended.status,
        instance_id = NULL,
        outputs = ended.outputs::jsonb,
        file = ended.file,
        error_code = ended.error_code,
        error_message = ended.error_message,
        due_at = ended.due_at,
        finished_at = $9::timestamptz,
        delivered_at = CASE WHEN ended.due_at IS NULL THEN $9::timestamptz END
    FROM
        unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::timestamptz[])
        AS ended (job_id, lease, status, outputs, file, error_code, error_message, due_at)
    -- Only who is running is at an instance. By status, the planner would compare each of these with all that run.
    WHERE job.job_id = ended.job_id AND job.lease = ended.lease AND job.instance_id IS NOT NULL
    RETURNING job.job_id
)

SELECT coalesce(array_agg(done.job_id), '{}'::uuid[]) AS job_ids
FROM done;

-- name: cancel(job_id, user_id, now) :one
-- End an open job of this person, whoever is at it: the lease goes on, so nobody holds it any more.
UPDATE generation_jobs
SET status = 'cancelled', lease = lease + 1, instance_id = NULL, due_at = NULL, finished_at = $3, delivered_at = $3
WHERE job_id = $1 AND user_id = $2 AND status IN ('queued', 'waiting', 'running')
RETURNING job_id, user_id, chat_id, language, prompt, model_id, price_rub, reference, progress_message_id;

-- name: call_back(job_id, now) :exec
-- The provider has news of this job: look at it now, or as soon as whoever is at it lets go.
UPDATE generation_jobs
SET called_back_at = $2::timestamptz, due_at = CASE WHEN status = 'waiting' THEN $2::timestamptz END
WHERE job_id = $1 AND status IN ('queued', 'waiting', 'running');

-- name: is_known(job_id) :value
-- Whether there is such a job, open or not.
SELECT EXISTS(SELECT FROM generation_jobs WHERE job_id = $1);

-- name: get_job(job_id, user_id) :one
-- A job of this person.
SELECT job_id, user_id, chat_id, model_id, price_rub, prompt, status, outputs, error_code, created_at, finished_at
FROM generation_jobs
WHERE job_id = $1 AND user_id = $2;

-- name: beat(instance_id, name, now) :exec
-- This instance is alive.
INSERT INTO instances AS instance (instance_id, name, started_at, beat_at) VALUES ($1, $2, $3, $3)
ON CONFLICT (instance_id) DO UPDATE SET beat_at = excluded.beat_at;

-- name: list_leases(instance_id) :many
-- What this instance still holds.
SELECT job_id, lease FROM generation_jobs
WHERE instance_id = $1 AND status = 'running';

-- name: disown(instance_id, job_ids, leases) :exec
-- This instance claimed these and does not know it, because the answer was lost: nobody is at them.
UPDATE generation_jobs AS job
SET instance_id = NULL
FROM unnest($2::uuid[], $3::bigint[]) AS stray (job_id, lease)
WHERE job.job_id = stray.job_id AND job.lease = stray.lease AND job.instance_id = $1 AND job.status = 'running';

-- name: leave(instance_id, now) :value
-- This instance stops: what it was at is due at once for others, and was no try; how much that is.
WITH left_behind AS (
    UPDATE generation_jobs
    SET
        status = 'waiting',
        instance_id = NULL,
        due_at = $2,
        attempts = attempts - (CASE WHEN reference IS NULL THEN 1 ELSE 0 END)
    WHERE instance_id = $1 AND status = 'running'
    RETURNING job_id
),

gone AS (
    DELETE FROM instances WHERE instance_id = $1
)

SELECT count(*) AS jobs FROM left_behind;

-- name: rescue(now, beat_since, overdue_since, most_attempts, most_rub, batch) :many
-- Take jobs from whoever is dead or hangs: they are due again, but for those that were begun too often, which end.
-- What is under way at the provider's was begun once, however often it was looked at: its deadline ends it.
WITH lost AS (
    SELECT job.job_id FROM generation_jobs AS job
    WHERE
        job.status = 'running'
        AND job.price_rub <= $5::numeric
        AND (
            job.deadline_at < $3::timestamptz
            OR NOT EXISTS (
                SELECT FROM instances WHERE instances.instance_id = job.instance_id AND instances.beat_at >= $2
            )
        )
    ORDER BY job.deadline_at
    LIMIT $6
    FOR UPDATE OF job SKIP LOCKED
)

UPDATE generation_jobs AS job
SET
    status = CASE WHEN job.attempts < $4 OR job.reference IS NOT NULL THEN 'waiting' ELSE 'failed' END,
    error_code = CASE WHEN job.attempts < $4 OR job.reference IS NOT NULL THEN job.error_code ELSE 'worker_lost' END,
    finished_at = CASE WHEN job.attempts >= $4 AND job.reference IS NULL THEN $1::timestamptz END,
    due_at = $1::timestamptz,
    instance_id = NULL,
    lease = job.lease + 1
WHERE job.job_id = any(ARRAY(SELECT lost.job_id FROM lost))
RETURNING
    job.job_id, job.user_id, job.chat_id, job.language, job.model_id, job.price_rub, job.prompt, job.lease,
    job.attempts, job.reference, coalesce(job.deadline_at, job.place) AS deadline_at, job.progress_message_id,
    job.place, coalesce(job.started_at, job.place) AS started_at, job.status;

-- name: claim_undelivered(now, until, batch) :many
-- Take results that nobody was told of, and leave them to others after that time.
WITH due AS (
    SELECT job_id FROM generation_jobs
    WHERE status IN ('success', 'failed', 'timeout') AND due_at <= $1::timestamptz
    ORDER BY due_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)

UPDATE generation_jobs AS job
SET due_at = $2::timestamptz, deliveries = job.deliveries + 1
WHERE job.job_id = any(ARRAY(SELECT due.job_id FROM due))
RETURNING
    job.job_id, job.user_id, job.chat_id, job.language, job.model_id, job.price_rub, job.status, job.outputs, job.file,
    job.error_code, job.progress_message_id, job.deliveries;

-- name: mark_delivered(job_ids, outputs, now) :exec
-- These were told of; the bytes of a file are Telegram's now, and its id is ours.
UPDATE generation_jobs AS job
SET delivered_at = $3, due_at = NULL, file = NULL, outputs = coalesce(told.outputs::jsonb, job.outputs)
FROM unnest($1::uuid[], $2::text[]) AS told (job_id, outputs)
WHERE job.job_id = told.job_id AND job.finished_at IS NOT NULL;

-- name: list_paid(after, batch) :value
-- Open jobs for which money is put aside, after this one.
SELECT coalesce(array_agg(open.job_id ORDER BY open.job_id), '{}'::uuid[]) AS job_ids
FROM (
    SELECT job_id FROM generation_jobs
    WHERE status IN ('queued', 'waiting', 'running') AND price_rub > 0 AND job_id > $1
    ORDER BY job_id
    LIMIT $2
) AS open;

-- name: prune_jobs(before, batch) :exec
-- Forget work that ended so long ago.
DELETE FROM generation_jobs
WHERE job_id = any(ARRAY(SELECT job_id FROM generation_jobs WHERE finished_at < $1 ORDER BY finished_at LIMIT $2));

-- name: prune_instances(before) :exec
-- Forget processes that have not been heard of for so long.
DELETE FROM instances
WHERE beat_at < $1;

-- name: list_open(before_at, before_id, now, page) :many
-- Work under way, newest first, after the last one of the previous page; its age in seconds.
SELECT
    job_id, user_id, model_id, status, price_rub, attempts, created_at, started_at, due_at,
    extract(EPOCH FROM $3 - created_at)::bigint AS age_s
FROM generation_jobs
WHERE status IN ('queued', 'waiting', 'running') AND (created_at, job_id) < ($1, $2)
ORDER BY created_at DESC, job_id DESC
LIMIT $4;

-- name: measure_jobs(now, most) :many
-- Work under way by state, so many of each at most; and in seconds how late the oldest is, or how long it has run.
WITH open AS (
    (SELECT 'queued' AS state, place AS since FROM generation_jobs
    WHERE status = 'queued' AND at_once IS NULL ORDER BY place LIMIT $2)
    UNION ALL
    (SELECT 'queued', place FROM generation_jobs
    WHERE status = 'queued' AND at_once IS NOT NULL ORDER BY model_id, place LIMIT $2)
    UNION ALL
    (SELECT 'waiting', due_at FROM generation_jobs WHERE status = 'waiting' ORDER BY due_at LIMIT $2)
    UNION ALL
    (SELECT 'running', started_at FROM generation_jobs WHERE status = 'running' ORDER BY instance_id LIMIT $2)
)

SELECT
    open.state, count(*) AS jobs,
    coalesce(greatest(extract(EPOCH FROM $1::timestamptz - min(open.since)), 0), 0)::float8 AS oldest_s
FROM open
GROUP BY open.state;

-- name: measure_instances(now, alive_since) :one
-- How many processes are alive, and how many seconds ago any was last heard of; NULL where none ever was.
SELECT
    count(*) FILTER (WHERE beat_at >= $2::timestamptz) AS alive,
    greatest(extract(EPOCH FROM $1::timestamptz - max(beat_at)), 0)::float8 AS beat_age_s
FROM instances;
