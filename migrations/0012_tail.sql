-- What happened lately, for operators who watch. A tail and no archive: it is forgotten after a day.
-- depends: 0009_referrals

CREATE TABLE IF NOT EXISTS tail_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    key uuid NOT NULL,
    name text NOT NULL,
    instance text NOT NULL,
    user_id bigint,
    model_id text,
    told jsonb NOT NULL DEFAULT '{}',
    happened_at timestamptz NOT NULL,
    CONSTRAINT tail_events_pkey PRIMARY KEY (id),
    CONSTRAINT tail_events_key_once UNIQUE (key)
)
-- A table that grows at its end and is forgotten at its beginning, at the same pace.
WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);

CREATE INDEX IF NOT EXISTS tail_events_happened_idx ON tail_events (happened_at);

COMMENT ON TABLE tail_events IS 'What happened in the last 24 hours, as operators watch it.';
COMMENT ON COLUMN tail_events.id IS 'In the order of commits: whoever read up to an id has missed nothing.';
COMMENT ON COLUMN tail_events.key IS 'Made when it was told, so that a write whose answer was lost is not made twice.';
COMMENT ON COLUMN tail_events.name IS 'generation, payment_settled, update_parked and the like.';
COMMENT ON COLUMN tail_events.instance IS 'Host and number of the process in which it happened.';
COMMENT ON COLUMN tail_events.user_id IS 'Whom it was about; NULL: nobody.';
COMMENT ON COLUMN tail_events.model_id IS 'The model, where it was about one.';
COMMENT ON COLUMN tail_events.told IS 'What else was told, without secrets and without what people wrote.';
COMMENT ON COLUMN tail_events.happened_at IS 'When it happened.';
