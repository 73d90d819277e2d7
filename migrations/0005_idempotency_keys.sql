-- The keys that operators send with a write, and the answers they got.
-- depends: 0004_payments

CREATE TABLE IF NOT EXISTS idempotency_keys (
    scope text NOT NULL,
    key text NOT NULL,
    request_hash bytea NOT NULL,
    status_code integer,
    response bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    locked_until timestamptz,
    CONSTRAINT idempotency_keys_pkey PRIMARY KEY (scope, key),
    CONSTRAINT idempotency_keys_answered_whole CHECK ((status_code IS NULL) = (response IS NULL))
);

CREATE INDEX IF NOT EXISTS idempotency_keys_created_at_idx ON idempotency_keys (created_at);

COMMENT ON TABLE idempotency_keys IS 'Writes of operators that were begun or answered; swept after IDEMPOTENCY_TTL.';
COMMENT ON COLUMN idempotency_keys.scope IS 'What was asked for: the route with its ids.';
COMMENT ON COLUMN idempotency_keys.key IS 'The Idempotency-Key header.';
COMMENT ON COLUMN idempotency_keys.request_hash IS 'SHA-256 of the request''s parameters; another request is refused.';
COMMENT ON COLUMN idempotency_keys.status_code IS 'The HTTP status that was answered; NULL while under way.';
COMMENT ON COLUMN idempotency_keys.response IS 'The body that was answered, given again to a repeat.';
COMMENT ON COLUMN idempotency_keys.created_at IS 'When the key was first seen.';
COMMENT ON COLUMN idempotency_keys.locked_until IS 'Until when whoever began it is taken to be at work.';
