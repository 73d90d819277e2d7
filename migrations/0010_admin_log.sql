-- What operators did: a log that only grows.
-- depends: 0009_referrals

CREATE TABLE IF NOT EXISTS admin_log (
    id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL,
    who text NOT NULL,
    what text NOT NULL,
    subject text NOT NULL,
    details jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT admin_log_pkey PRIMARY KEY (id)
);

CREATE INDEX IF NOT EXISTS admin_log_recent_idx ON admin_log (at DESC, id DESC);

CREATE OR REPLACE TRIGGER admin_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
ON admin_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

COMMENT ON TABLE admin_log IS 'What operators did. Of a person it tells his id and nothing else.';
COMMENT ON COLUMN admin_log.id IS 'Grows with time.';
COMMENT ON COLUMN admin_log.at IS 'When it was done.';
COMMENT ON COLUMN admin_log.who IS 'Where the operator was, and whether by a script, a browser or the command line.';
COMMENT ON COLUMN admin_log.what IS 'What was done, as a word: broadcast, erase, adjust.';
COMMENT ON COLUMN admin_log.subject IS 'To what, as kind:id.';
COMMENT ON COLUMN admin_log.details IS 'How: amounts and choices.';
