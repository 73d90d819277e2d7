-- Telegram: which updates have had their effect, and which could not be handled.
-- Owns: processed_updates, failed_updates
-- Reads:

-- name: claim_update(bot_id, update_id) :value
-- Take this update for the transaction at hand; nothing when it has been taken. Waits for a rival to commit.
INSERT INTO processed_updates (bot_id, update_id)
VALUES ($1, $2)
ON CONFLICT ON CONSTRAINT processed_updates_pkey DO NOTHING
RETURNING TRUE;

-- name: store_reply(bot_id, update_id, reply) :exec
-- Keep the answer beside the claim, for when the update comes again.
UPDATE processed_updates
SET reply = $3
WHERE bot_id = $1 AND update_id = $2;

-- name: get_reply(bot_id, update_id) :value
-- The answer that this update got.
SELECT reply
FROM processed_updates
WHERE bot_id = $1 AND update_id = $2;

-- name: prune_processed(before, batch) :exec
-- Forget updates so old that Telegram does not send them any more.
DELETE FROM processed_updates
-- By place and not by key: joining a batch of keys to its own table reads all of it.
WHERE ctid = any(ARRAY(
    SELECT old.ctid
    FROM processed_updates AS old
    WHERE old.created_at < $1
    ORDER BY old.created_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
));

-- name: record_failure(bot_id, update_id, body, error, park_after) :value
-- Keep a failed update whole, and count; says whether it is parked now, for an operator.
INSERT INTO failed_updates AS failed (bot_id, update_id, body, error, attempts, failed_at, parked_at)
VALUES ($1, $2, $3, $4, 1, now(), CASE WHEN $5::integer <= 1 THEN now() END)
ON CONFLICT ON CONSTRAINT failed_updates_pkey DO UPDATE
SET
    error = excluded.error,
    attempts = failed.attempts + 1,
    failed_at = now(),
    replayed_at = NULL,
    -- What is parked stays so, whatever a replay counts: what is not parked is forgotten after a while.
    parked_at = coalesce(failed.parked_at, CASE WHEN failed.attempts + 1 >= $5::integer THEN now() END)
RETURNING parked_at IS NOT NULL;

-- name: get_failed(bot_id, update_id) :one
-- A failed update with its body.
SELECT update_id, body, error, attempts, created_at, failed_at, parked_at, replayed_at
FROM failed_updates
WHERE bot_id = $1 AND update_id = $2;

-- name: list_failed(bot_id, before_at, before_id, page) :many
-- Parked updates that no replay has mended, newest first.
SELECT update_id, body, error, attempts, created_at, failed_at, parked_at, replayed_at
FROM failed_updates
WHERE
    bot_id = $1 AND parked_at IS NOT NULL AND replayed_at IS NULL
    AND (parked_at, update_id) < ($2, $3)
ORDER BY parked_at DESC, update_id DESC
LIMIT $4;

-- name: mark_replayed(bot_id, update_id) :exec
-- A replay went through.
UPDATE failed_updates
SET replayed_at = now()
WHERE bot_id = $1 AND update_id = $2;

-- name: prune_failures(before, batch) :exec
-- Forget failures that mended themselves: failed once or twice, never parked.
DELETE FROM failed_updates
-- By place and not by key: joining a batch of keys to its own table reads all of it.
WHERE ctid = any(ARRAY(
    SELECT old.ctid
    FROM failed_updates AS old
    WHERE old.parked_at IS NULL AND old.failed_at < $1
    ORDER BY old.failed_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
));

-- name: measure_parked(bot_id, now, most) :one
-- How many wait for an operator, counted up to so many, and for how many seconds the oldest has.
SELECT
    count(*) AS updates,
    coalesce(greatest(extract(EPOCH FROM $2::timestamptz - min(parked.parked_at)), 0), 0)::float8 AS oldest_s
FROM (
    SELECT parked_at FROM failed_updates
    WHERE bot_id = $1 AND parked_at IS NOT NULL AND replayed_at IS NULL
    ORDER BY parked_at
    LIMIT $3
) AS parked;
