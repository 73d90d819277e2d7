-- Idempotency: the keys that operators send with a write, and the answers they got.
-- Owns: idempotency_keys
-- Reads:

-- name: try_key(scope, key) :value
-- Whether nobody is at this key at the moment; until the transaction ends it is ours.
SELECT pg_try_advisory_xact_lock(hashtextextended($1::text || ' ' || $2::text, 0)) AS is_ours;

-- name: get_key(scope, key) :one
-- What was asked with this key, and what was answered.
SELECT request_hash, status_code, response, locked_until
FROM idempotency_keys
WHERE scope = $1 AND key = $2;

-- name: begin_key(scope, key, request_hash, now, until) :exec
-- Somebody is at work for this key, until then at most.
INSERT INTO idempotency_keys (scope, key, request_hash, created_at, locked_until)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (scope, key) DO UPDATE SET locked_until = excluded.locked_until;

-- name: answer_key(scope, key, request_hash, status_code, response, now) :exec
-- Keep the answer that every repeat is given; the first one stays.
INSERT INTO idempotency_keys AS known (scope, key, request_hash, status_code, response, created_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (scope, key) DO UPDATE
SET status_code = excluded.status_code, response = excluded.response, locked_until = NULL
WHERE known.status_code IS NULL;

-- name: unlock_key(scope, key) :exec
-- Nobody is at work for it any more, and there is no answer to keep: the next one goes on.
UPDATE idempotency_keys
SET locked_until = NULL
WHERE scope = $1 AND key = $2 AND status_code IS NULL;

-- name: forget_keys(before, now, batch) :exec
-- Forget keys so old that nobody repeats them, unless somebody is at work for one.
DELETE FROM idempotency_keys
-- By place and not by key: joining a batch of keys to its own table reads all of it.
WHERE ctid = any(ARRAY(
    SELECT old.ctid
    FROM idempotency_keys AS old
    WHERE old.created_at < $1 AND (old.locked_until IS NULL OR old.locked_until < $2)
    ORDER BY old.created_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
));
