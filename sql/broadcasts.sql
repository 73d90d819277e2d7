-- Broadcasts: what operators write to many people at once.
-- Owns: broadcasts, broadcast_recipients
-- Reads: users, payments
--
-- Locks are taken in this order: broadcast, recipient.

-- name: add_broadcast(broadcast_id, text, button_text, button_url, segment, now) :exec
-- A new one; its recipients are found later.
INSERT INTO broadcasts (broadcast_id, text, button_text, button_url, segment, next_at, created_at)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $6);

-- name: get_broadcast(broadcast_id) :one
-- One of them.
SELECT broadcast_id, text, button_text, button_url, segment, status, created_at, gathered_at, finished_at
FROM broadcasts
WHERE broadcast_id = $1;

-- name: list_broadcasts(before_at, before_id, page) :many
-- The newest first, after the last one of the previous page.
SELECT broadcast_id, text, button_text, button_url, segment, status, created_at, gathered_at, finished_at
FROM broadcasts
WHERE (created_at, broadcast_id) < ($1, $2)
ORDER BY created_at DESC, broadcast_id DESC
LIMIT $3;

-- name: count_recipients(broadcast_ids) :many
-- How many recipients of these stand where.
SELECT broadcast_id, status, count(*) AS recipients
FROM broadcast_recipients
WHERE broadcast_id = any($1::uuid[])
GROUP BY broadcast_id, status
ORDER BY broadcast_id, status;

-- name: cancel_broadcast(broadcast_id, now) :exec
-- Serve nobody else; touches no row of one that has ended.
UPDATE broadcasts
SET status = 'cancelled', finished_at = $2
WHERE broadcast_id = $1 AND status IN ('gathering', 'sending');

-- name: resume_broadcast(broadcast_id, now) :exec
-- Go on where it was cancelled.
UPDATE broadcasts
SET
    status = CASE WHEN gathered_at IS NULL THEN 'gathering' ELSE 'sending' END,
    next_at = greatest(next_at, $2),
    finished_at = NULL
WHERE broadcast_id = $1 AND status = 'cancelled';

-- name: find_open() :one
-- The oldest that is under way: one after another, so that all of them together keep one pace.
SELECT broadcast_id, text, button_text, button_url, status, next_at
FROM broadcasts
WHERE status IN ('gathering', 'sending')
ORDER BY created_at, broadcast_id
LIMIT 1;

-- name: gather(broadcast_id, batch, now) :value
-- Look at the next people, and queue those whom the segment means; how many were looked at, nothing if it is not ours.
WITH taken AS (
    SELECT one.broadcast_id, one.gathered_to, one.created_at, meant.active, meant.language, meant.paid, meant.since_days
    FROM
        broadcasts AS one,
        jsonb_to_record(one.segment) AS meant (active boolean, language text, paid boolean, since_days integer)
    WHERE one.broadcast_id = $1 AND one.status = 'gathering'
    FOR UPDATE OF one SKIP LOCKED
),

-- Those without a Telegram id are from 2^52 up.
looked AS MATERIALIZED (
    SELECT
        people.user_id, people.is_active, people.created_at,
        coalesce(people.language, CASE WHEN people.language_code ILIKE 'ru%' THEN 'ru' ELSE 'en' END) AS speaks
    FROM users AS people
    WHERE people.user_id > (SELECT taken.gathered_to FROM taken) AND people.user_id < 4503599627370496
    ORDER BY people.user_id
    LIMIT $2
),

queued AS (
    INSERT INTO broadcast_recipients (broadcast_id, user_id)
    SELECT taken.broadcast_id, looked.user_id
    FROM looked CROSS JOIN taken
    WHERE
        looked.created_at <= taken.created_at
        AND (taken.active IS NULL OR taken.active = looked.is_active)
        AND (taken.language IS NULL OR taken.language = looked.speaks)
        AND (taken.since_days IS NULL OR looked.created_at >= taken.created_at - taken.since_days * interval '1 day')
        AND (taken.paid IS NULL OR taken.paid = EXISTS (
            SELECT FROM payments WHERE payments.user_id = looked.user_id AND payments.status = 'succeeded'
        ))
    ORDER BY looked.user_id
    ON CONFLICT DO NOTHING
),

batch AS (SELECT count(*) AS people, max(looked.user_id) AS last_id FROM looked)

UPDATE broadcasts AS one
SET
    gathered_to = coalesce(batch.last_id, one.gathered_to),
    status = CASE WHEN batch.people < $2 THEN 'sending' ELSE one.status END,
    gathered_at = CASE WHEN batch.people < $2 THEN $3::timestamptz END
FROM batch, taken
WHERE one.broadcast_id = taken.broadcast_id
RETURNING batch.people;

-- name: claim(broadcast_id, batch, now, next_at) :many
-- Take the next recipients, if it is time; until the next time nobody else takes any.
WITH turn AS (
    UPDATE broadcasts SET next_at = $4
    WHERE broadcast_id = $1 AND status = 'sending' AND next_at <= $3
    RETURNING broadcast_id
),

due AS (
    SELECT waiting.broadcast_id, waiting.user_id
    FROM broadcast_recipients AS waiting
    WHERE waiting.broadcast_id = (SELECT turn.broadcast_id FROM turn) AND waiting.status = 'queued'
    ORDER BY waiting.user_id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)

UPDATE broadcast_recipients AS claimed
SET status = 'sending', claimed_at = $3
FROM due
WHERE claimed.broadcast_id = due.broadcast_id AND claimed.user_id = due.user_id AND claimed.status = 'queued'
RETURNING claimed.user_id;

-- name: settle(broadcast_id, claimed_at, user_ids, statuses, errors) :exec
-- What became of those whom this claim took; given back to the queue are those who were surely not written to.
UPDATE broadcast_recipients AS served
SET
    status = ended.status,
    error = ended.error,
    claimed_at = CASE WHEN ended.status <> 'queued' THEN served.claimed_at END
FROM unnest($3::bigint[], $4::text[], $5::text[]) AS ended (user_id, status, error)
WHERE
    served.broadcast_id = $1
    AND served.user_id = ended.user_id
    AND served.status IN ('sending', 'unknown')
    AND served.claimed_at = $2;

-- name: put_off(broadcast_id, until) :exec
-- Serve nobody before then: Telegram asked for silence.
UPDATE broadcasts SET next_at = $2
WHERE broadcast_id = $1 AND next_at < $2;

-- name: give_up(before, batch) :exec
-- Whoever took these up is gone, and nobody can tell whether they were written to: they are not written to again.
UPDATE broadcast_recipients AS lost
SET status = 'unknown'
WHERE (lost.broadcast_id, lost.user_id) IN (
    SELECT old.broadcast_id, old.user_id
    FROM broadcast_recipients AS old
    WHERE old.status = 'sending' AND old.claimed_at < $1
    ORDER BY old.claimed_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
);

-- name: finish(broadcast_id, now) :exec
-- Everybody has been served.
UPDATE broadcasts
SET status = 'done', finished_at = $2
WHERE
    broadcast_id = $1 AND status = 'sending'
    AND NOT EXISTS (
        SELECT FROM broadcast_recipients AS waiting
        WHERE waiting.broadcast_id = $1 AND waiting.status IN ('queued', 'sending')
    );
