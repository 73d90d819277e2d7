-- What Telegram delivered: the updates whose effect is stored, so that a repeat has none, and the ones that
-- failed, kept whole until an operator has seen them.
-- depends: 0001_users

CREATE TABLE IF NOT EXISTS processed_updates (
    bot_id bigint NOT NULL,
    update_id bigint NOT NULL,
    reply bytea,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT processed_updates_pkey PRIMARY KEY (bot_id, update_id)
);

CREATE INDEX IF NOT EXISTS processed_updates_created_at_idx ON processed_updates (created_at);

CREATE TABLE IF NOT EXISTS failed_updates (
    bot_id bigint NOT NULL,
    update_id bigint NOT NULL,
    body bytea NOT NULL,
    error text NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    failed_at timestamptz NOT NULL DEFAULT now(),
    parked_at timestamptz,
    replayed_at timestamptz,
    CONSTRAINT failed_updates_pkey PRIMARY KEY (bot_id, update_id),
    CONSTRAINT failed_updates_attempts_positive CHECK (attempts > 0)
);

-- What operators page through, and what is swept: each reads only the rows that it is about.
CREATE INDEX IF NOT EXISTS failed_updates_waiting_idx ON failed_updates (bot_id, parked_at DESC, update_id DESC)
WHERE parked_at IS NOT NULL AND replayed_at IS NULL;
CREATE INDEX IF NOT EXISTS failed_updates_mended_idx ON failed_updates (failed_at)
WHERE parked_at IS NULL;

COMMENT ON TABLE processed_updates IS 'Updates whose effect is committed; the row commits with the effect.';
COMMENT ON COLUMN processed_updates.bot_id IS 'The bot that the update was for.';
COMMENT ON COLUMN processed_updates.update_id IS 'Telegram''s number of the update, unique per bot.';
COMMENT ON COLUMN processed_updates.reply IS 'The answer that was given, sent again to a repeat; NULL for none.';
COMMENT ON COLUMN processed_updates.created_at IS 'When the update was claimed; old rows are swept.';

COMMENT ON TABLE failed_updates IS 'Updates whose handler failed, whole, with the last error.';
COMMENT ON COLUMN failed_updates.bot_id IS 'The bot that the update was for.';
COMMENT ON COLUMN failed_updates.update_id IS 'Telegram''s number of the update, unique per bot.';
COMMENT ON COLUMN failed_updates.body IS 'The update as it came, byte for byte.';
COMMENT ON COLUMN failed_updates.error IS 'What the last attempt failed with.';
COMMENT ON COLUMN failed_updates.attempts IS 'How often it was tried.';
COMMENT ON COLUMN failed_updates.created_at IS 'When it failed first.';
COMMENT ON COLUMN failed_updates.failed_at IS 'When it failed last.';
COMMENT ON COLUMN failed_updates.parked_at IS 'When it was acknowledged to Telegram, to wait here for an operator.';
COMMENT ON COLUMN failed_updates.replayed_at IS 'When an operator''s replay succeeded.';
