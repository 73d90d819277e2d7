-- What operators write to many people at once, and how each of them is served.
-- depends: 0010_admin_log

CREATE TABLE IF NOT EXISTS broadcasts (
    broadcast_id uuid NOT NULL,
    text text NOT NULL,
    button_text text,
    button_url text,
    segment jsonb NOT NULL,
    status text NOT NULL DEFAULT 'gathering',
    gathered_to bigint NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    gathered_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT broadcasts_pkey PRIMARY KEY (broadcast_id),
    CONSTRAINT broadcasts_status_known CHECK (status IN ('gathering', 'sending', 'done', 'cancelled')),
    CONSTRAINT broadcasts_button_whole CHECK ((button_text IS NULL) = (button_url IS NULL)),
    CONSTRAINT broadcasts_finished_when CHECK ((finished_at IS NOT NULL) = (status IN ('done', 'cancelled')))
);

CREATE INDEX IF NOT EXISTS broadcasts_recent_idx ON broadcasts (created_at DESC, broadcast_id DESC);
CREATE INDEX IF NOT EXISTS broadcasts_open_idx ON broadcasts (created_at, broadcast_id)
WHERE status IN ('gathering', 'sending');

CREATE TABLE IF NOT EXISTS broadcast_recipients (
    broadcast_id uuid NOT NULL,
    user_id bigint NOT NULL,
    status text NOT NULL DEFAULT 'queued',
    claimed_at timestamptz,
    error text,
    CONSTRAINT broadcast_recipients_pkey PRIMARY KEY (broadcast_id, user_id),
    CONSTRAINT broadcast_recipients_broadcast_known FOREIGN KEY (broadcast_id) REFERENCES broadcasts (broadcast_id),
    CONSTRAINT broadcast_recipients_user_known FOREIGN KEY (user_id) REFERENCES users (user_id),
    CONSTRAINT broadcast_recipients_status_known CHECK (
        status IN ('queued', 'sending', 'sent', 'blocked', 'failed', 'unknown')
    ),
    CONSTRAINT broadcast_recipients_claimed_when CHECK ((claimed_at IS NULL) = (status = 'queued'))
)
-- Each row is written three times within minutes.
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02);

-- The next to be served, and how many stand where.
CREATE INDEX IF NOT EXISTS broadcast_recipients_status_idx ON broadcast_recipients (broadcast_id, status, user_id);
CREATE INDEX IF NOT EXISTS broadcast_recipients_sending_idx ON broadcast_recipients (claimed_at)
WHERE status = 'sending';
CREATE INDEX IF NOT EXISTS broadcast_recipients_user_idx ON broadcast_recipients (user_id);

COMMENT ON TABLE broadcasts IS 'Messages of operators to many people.';
COMMENT ON COLUMN broadcasts.broadcast_id IS 'Ours.';
COMMENT ON COLUMN broadcasts.text IS 'What people read.';
COMMENT ON COLUMN broadcasts.button_text IS 'What the button under it says; NULL for none.';
COMMENT ON COLUMN broadcasts.button_url IS 'Where the button leads.';
COMMENT ON COLUMN broadcasts.segment IS 'To whom, as the operator asked: active, language, paid, since_days.';
COMMENT ON COLUMN broadcasts.status IS 'gathering (recipients), sending, done, cancelled.';
COMMENT ON COLUMN broadcasts.gathered_to IS 'People up to this id have been looked at.';
COMMENT ON COLUMN broadcasts.next_at IS 'When the next batch may go out; every instance keeps to it.';
COMMENT ON COLUMN broadcasts.created_at IS 'When it was asked for; whoever came later is not written to.';
COMMENT ON COLUMN broadcasts.gathered_at IS 'When the last recipient was found; NULL: not yet.';
COMMENT ON COLUMN broadcasts.finished_at IS 'When everybody was served, or when it was cancelled.';

COMMENT ON TABLE broadcast_recipients IS 'How each recipient of a broadcast is served.';
COMMENT ON COLUMN broadcast_recipients.broadcast_id IS 'Of which broadcast.';
COMMENT ON COLUMN broadcast_recipients.user_id IS 'Who.';
COMMENT ON COLUMN broadcast_recipients.status IS 'queued, sending, sent, blocked, failed; unknown: perhaps sent.';
COMMENT ON COLUMN broadcast_recipients.claimed_at IS 'When somebody took it up to send it.';
COMMENT ON COLUMN broadcast_recipients.error IS 'Why it failed, in the words of Telegram.';
