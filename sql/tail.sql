-- Tail: what happened lately, in the order in which it was committed.
-- Owns: tail_events
-- Reads:
--
-- Whoever writes takes his turn before his rows get their ids, and keeps it until they are committed: so ids grow in
-- the order of commits, and a reader who has seen one has seen all that are smaller. The turn lasts one statement.

-- name: write_events(keys, names, instance, users, models, told, at) :exec
-- Keep these, but for those that a try whose answer was lost has kept already.
WITH turn AS MATERIALIZED (
    SELECT pg_advisory_xact_lock(hashtextextended('tail_events', 0)) IS NOT NULL AS is_ours
)

INSERT INTO tail_events (key, name, instance, user_id, model_id, told, happened_at)
SELECT told.key, told.name, $3::text, told.user_id, told.model_id, told.rest::jsonb, told.happened_at
FROM turn
CROSS JOIN
    unnest($1::uuid[], $2::text[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[])
    WITH ORDINALITY AS told (key, name, user_id, model_id, rest, happened_at, position)
WHERE turn.is_ours
ORDER BY told.position
ON CONFLICT (key) DO NOTHING;

-- name: ring() :value
-- Wake whoever watches, at any instance.
SELECT pg_notify('tail_events', '') IS NOT NULL AS is_rung;

-- name: last_id() :value
-- How far it goes.
SELECT coalesce(max(id), 0) AS id FROM tail_events;

-- name: id_before(since) :value
-- Where to go on from, so that what happened since then is seen.
-- What was told late, after an outage, has a high id and an early time: so not simply the first by time.
WITH recent AS MATERIALIZED (
    SELECT id FROM tail_events
    WHERE happened_at >= $1
)

SELECT coalesce((SELECT min(recent.id) - 1 FROM recent), (SELECT max(id) FROM tail_events), 0) AS id;

-- name: list_after(after, until, names, user_id, model_id, page) :many
-- What is wanted of what came after the one id, up to the other.
SELECT id, name, instance, user_id, model_id, told, happened_at
FROM tail_events
WHERE
    id > $1 AND id <= $2
    AND ($3::text[] IS NULL OR name = any($3::text[]))
    AND ($4::bigint IS NULL OR user_id = $4::bigint)
    AND ($5::text IS NULL OR model_id = $5::text)
ORDER BY id
LIMIT $6;

-- name: list_last(until, names, user_id, model_id, page) :many
-- The last that is wanted up to that id, the newest first.
SELECT id, name, instance, user_id, model_id, told, happened_at
FROM tail_events
WHERE
    id <= $1
    AND ($2::text[] IS NULL OR name = any($2::text[]))
    AND ($3::bigint IS NULL OR user_id = $3::bigint)
    AND ($4::text IS NULL OR model_id = $4::text)
ORDER BY id DESC
LIMIT $5;

-- name: prune_events(before, batch) :exec
-- Forget what is older than that, the oldest first.
DELETE FROM tail_events
WHERE ctid = any(ARRAY(
    SELECT old.ctid
    FROM tail_events AS old
    WHERE old.happened_at < $1
    ORDER BY old.happened_at
    LIMIT $2
));
