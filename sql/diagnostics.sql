-- Diagnostics: what became of generations, counted for operators.
-- Owns: generation_events
-- Reads: users
--
-- A window has two ends, so that the planner knows it for a small part of the table whatever the values are. A
-- generation begins with one event and ends with another: the counts are of those that ended.

-- name: write_events(users, chats, models, shelves, statuses, free, prices, jobs, tasks, codes, errors, ms, at) :exec
-- Keep these, but for those of nobody and those that a try whose answer was lost has kept already.
INSERT INTO generation_events (
    user_id, chat_id, model_id, category, status, is_free_applied, price_rub, request_id, task_id, error_code,
    error_message, duration_ms, created_at
)
SELECT
    told.user_id, told.chat_id, told.model_id, told.category, told.status, told.is_free, told.price_rub,
    told.request_id, told.task_id, told.error_code, told.error_message, least(told.duration_ms, 2147483647)::integer,
    told.created_at
FROM
    unnest(
        $1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::boolean[], $7::numeric[], $8::text[],
        $9::text[], $10::text[], $11::text[], $12::bigint[], $13::timestamptz[]
    ) AS told (
        user_id, chat_id, model_id, category, status, is_free, price_rub, request_id, task_id, error_code,
        error_message, duration_ms, created_at
    )
INNER JOIN users ON told.user_id = users.user_id
WHERE
    NOT EXISTS (
        SELECT FROM generation_events AS known
        WHERE
            known.user_id = told.user_id AND known.created_at = told.created_at AND known.status = told.status
            AND known.request_id = told.request_id
    )
ORDER BY told.created_at;

-- name: count_of_user(user_id, since, until) :one
-- What became of one person's generations, and what he spent on them.
SELECT
    count(*) FILTER (WHERE status IN ('success', 'failed', 'timeout')) AS total,
    count(*) FILTER (WHERE status = 'success') AS success,
    count(*) FILTER (WHERE status IN ('failed', 'timeout')) AS failed,
    count(*) FILTER (WHERE status = 'timeout') AS timeouts,
    count(*) FILTER (WHERE status = 'success' AND is_free_applied) AS free_used,
    coalesce(sum(price_rub) FILTER (WHERE status = 'success' AND NOT is_free_applied), 0) AS total_cost
FROM generation_events
WHERE user_id = $1 AND created_at > $2 AND created_at <= $3;

-- name: count_of_all(since, until) :one
-- What became of everybody's generations, and what was spent on them.
SELECT
    count(*) FILTER (WHERE status IN ('success', 'failed', 'timeout')) AS total,
    count(*) FILTER (WHERE status = 'success') AS success,
    count(*) FILTER (WHERE status IN ('failed', 'timeout')) AS failed,
    count(*) FILTER (WHERE status = 'timeout') AS timeouts,
    count(*) FILTER (WHERE status = 'success' AND is_free_applied) AS free_used,
    coalesce(sum(price_rub) FILTER (WHERE status = 'success' AND NOT is_free_applied), 0) AS total_cost
FROM generation_events
WHERE created_at > $1 AND created_at <= $2;

-- name: list_top_models(since, until, most) :many
-- The models that made most.
SELECT model_id, count(*) AS made
FROM generation_events
WHERE status = 'success' AND created_at > $1 AND created_at <= $2
GROUP BY model_id
ORDER BY count(*) DESC, model_id ASC
LIMIT $3;

-- name: list_failures(since, until, most) :many
-- What fails, the most frequent first.
SELECT model_id, error_code, error_message, count(*) AS count
FROM generation_events
WHERE status IN ('failed', 'timeout') AND created_at > $1 AND created_at <= $2
GROUP BY model_id, error_code, error_message
ORDER BY count(*) DESC, model_id ASC, error_code ASC, error_message ASC
LIMIT $3;

-- name: count_people(since) :one
-- How many people there are, and how many of them came since then.
SELECT
    (SELECT count(*) FROM users) AS people,
    (SELECT count(*) FROM users WHERE created_at >= $1) AS newcomers;

-- name: prune_events(before, batch) :exec
-- Forget events older than that, the oldest first.
DELETE FROM generation_events
-- By place and not by key: joining a batch of keys to its own table reads all of it.
WHERE ctid = any(ARRAY(
    SELECT old.ctid
    FROM generation_events AS old
    WHERE old.created_at < $1
    ORDER BY old.created_at
    LIMIT $2
));
