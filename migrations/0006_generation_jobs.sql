-- Work that people order, and the processes that do it.
-- depends: 0005_idempotency_keys

CREATE TABLE IF NOT EXISTS generation_jobs (
    job_id uuid NOT NULL,
    user_id bigint NOT NULL,
    chat_id bigint NOT NULL,
    language text NOT NULL DEFAULT 'en',
    model_id text NOT NULL,
    price_rub numeric(14, 2) NOT NULL DEFAULT 0,
    prompt text NOT NULL,
    timeout_s integer NOT NULL,
    at_once integer,
    status text NOT NULL DEFAULT 'queued',
    place timestamptz NOT NULL,
    due_at timestamptz,
    lease bigint NOT NULL DEFAULT 0,
    instance_id uuid,
    attempts integer NOT NULL DEFAULT 0,
    reference text,
    called_back_at timestamptz,
    deadline_at timestamptz,
    progress_message_id bigint,
    outputs jsonb,
    file bytea,
    error_code text,
    error_message text,
    deliveries integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    delivered_at timestamptz,
    CONSTRAINT generation_jobs_pkey PRIMARY KEY (job_id),
    CONSTRAINT generation_jobs_user_known FOREIGN KEY (user_id) REFERENCES users (user_id),
    CONSTRAINT generation_jobs_status_known CHECK (
        status IN ('queued', 'waiting', 'running', 'success', 'failed', 'timeout', 'cancelled')
    ),
    CONSTRAINT generation_jobs_price_not_negative CHECK (price_rub >= 0),
    CONSTRAINT generation_jobs_timeout_positive CHECK (timeout_s > 0),
    CONSTRAINT generation_jobs_at_once_positive CHECK (at_once > 0)
)
-- A job is written four times in its life: leave room beside it, and clean up before a fifth of the table is dead.
WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE IF NOT EXISTS instances (
    instance_id uuid NOT NULL,
    name text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    beat_at timestamptz NOT NULL,
    CONSTRAINT instances_pkey PRIMARY KEY (instance_id)
)
WITH (fillfactor = 50);

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_queued_idx ON generation_jobs (place)
WHERE status = 'queued' AND at_once IS NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_limited_idx ON generation_jobs (model_id, place)
WHERE status = 'queued' AND at_once IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_busy_idx ON generation_jobs (model_id)
WHERE status IN ('running', 'waiting') AND at_once IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_waiting_idx ON generation_jobs (due_at) WHERE status = 'waiting';
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_running_idx ON generation_jobs (instance_id) WHERE status = 'running';
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_open_idx ON generation_jobs (user_id)
WHERE status IN ('queued', 'waiting', 'running');
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_paid_idx ON generation_jobs (job_id)
WHERE status IN ('queued', 'waiting', 'running') AND price_rub > 0;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_undelivered_idx ON generation_jobs (due_at)
WHERE status IN ('success', 'failed', 'timeout') AND due_at IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX IF NOT EXISTS generation_jobs_finished_idx ON generation_jobs (finished_at) WHERE finished_at IS NOT NULL;

COMMENT ON TABLE generation_jobs IS 'Work that people ordered, from the order to its delivery.';
COMMENT ON COLUMN generation_jobs.job_id IS 'Made of the update that ordered it; also its reservation''s id.';
COMMENT ON COLUMN generation_jobs.user_id IS 'Who ordered it.';
COMMENT ON COLUMN generation_jobs.chat_id IS 'Where the result goes.';
COMMENT ON COLUMN generation_jobs.language IS 'How to speak to him: en or ru.';
COMMENT ON COLUMN generation_jobs.model_id IS 'The model, as the catalogue names it.';
COMMENT ON COLUMN generation_jobs.price_rub IS 'What it costs when it succeeds; 0 is free and touches no balance.';
COMMENT ON COLUMN generation_jobs.prompt IS 'What he asked for.';
COMMENT ON COLUMN generation_jobs.timeout_s IS 'Seconds that one try may take, as the catalogue said then.';
COMMENT ON COLUMN generation_jobs.at_once IS 'How many of this model may be under way at once; NULL: any number.';
COMMENT ON COLUMN generation_jobs.status IS 'queued, waiting, running, success, failed, timeout, cancelled.';
COMMENT ON COLUMN generation_jobs.place IS 'The order of the queue: when it came, and later the more of his are ahead.';
COMMENT ON COLUMN generation_jobs.due_at IS 'When somebody must look at it again: to go on with it, or to deliver it.';
COMMENT ON COLUMN generation_jobs.lease IS 'Number of the claim; only who holds it may finish.';
COMMENT ON COLUMN generation_jobs.instance_id IS 'Who is at it, while it is running.';
COMMENT ON COLUMN generation_jobs.attempts IS 'How often it was begun.';
COMMENT ON COLUMN generation_jobs.reference IS 'The provider''s id of the task that is under way there.';
COMMENT ON COLUMN generation_jobs.called_back_at IS 'When the provider last said that there is news.';
COMMENT ON COLUMN generation_jobs.deadline_at IS 'When this try, or the provider''s task, is given up.';
COMMENT ON COLUMN generation_jobs.progress_message_id IS 'The message that tells how it is going.';
COMMENT ON COLUMN generation_jobs.outputs IS 'What was made: text, or a file and, once sent, Telegram''s id of it.';
COMMENT ON COLUMN generation_jobs.file IS 'The bytes of the file until it is delivered.';
COMMENT ON COLUMN generation_jobs.error_code IS 'Why it failed, as a word.';
COMMENT ON COLUMN generation_jobs.error_message IS 'Why it failed, without secrets.';
COMMENT ON COLUMN generation_jobs.deliveries IS 'How often a delivery was tried by recovery.';
COMMENT ON COLUMN generation_jobs.created_at IS 'When it was ordered.';
COMMENT ON COLUMN generation_jobs.started_at IS 'When it was first begun.';
COMMENT ON COLUMN generation_jobs.finished_at IS 'When it ended, however it did.';
COMMENT ON COLUMN generation_jobs.delivered_at IS 'When the person was told.';

COMMENT ON TABLE instances IS 'Processes that work, one row for each start; one that does not beat is dead.';
COMMENT ON COLUMN instances.instance_id IS 'Made at the start of the process.';
COMMENT ON COLUMN instances.name IS 'Host and number of the process, for people.';
COMMENT ON COLUMN instances.started_at IS 'When it started.';
COMMENT ON COLUMN instances.beat_at IS 'When it was last heard of.';
