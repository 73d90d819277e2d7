-- Ballast's whole schema, for an empty database:  psql "$DATABASE_URL" -f bootstrap.sql
-- On a database that has it, it makes what is missing, and changes nothing else.
-- Made from migrations/ by `python -m service migrate sql`; a test holds the two equal. The migrations are
-- marked as applied, so that `python -m service migrate up` goes on from here.

\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;

BEGIN;

CREATE TABLE IF NOT EXISTS _yoyo_migration (
    migration_hash varchar(64),
    migration_id varchar(255),
    applied_at_utc timestamp,
    PRIMARY KEY (migration_hash)
);

CREATE TABLE IF NOT EXISTS _yoyo_log (
    id varchar(36),
    migration_hash varchar(64),
    migration_id varchar(255),
    operation varchar(10),
    username varchar(255),
    hostname varchar(255),
    comment varchar(255),
    created_at_utc timestamp,
    PRIMARY KEY (id)
);

CREATE TABLE IF NOT EXISTS _yoyo_version (
    version integer NOT NULL PRIMARY KEY,
    installed_at_utc timestamp
);

CREATE TABLE IF NOT EXISTS yoyo_lock (
    locked integer DEFAULT 1,
    ctime timestamp,
    pid integer NOT NULL,
    PRIMARY KEY (locked)
);

INSERT INTO _yoyo_version (version, installed_at_utc)
VALUES (2, now() AT TIME ZONE 'UTC')
ON CONFLICT (version) DO NOTHING;

-- migrations/0001_users.sql

-- The people the bot has met. Every other table of a person refers to this one.
--
-- The table of a generation bot is adopted in place: its rows and columns stay, what is missing is added, and a
-- TIMESTAMP becomes a TIMESTAMPTZ by reading it as UTC. That rewrites the table once, under an exclusive lock;
-- adopt it with the old bot stopped. An adopted key or constraint that does our work under another name is
-- renamed, because the name of a violated constraint is what becomes a domain error. An adopted index under
-- another name is left alone, because we cannot know who relies on it, and a second index only costs space.

CREATE TABLE IF NOT EXISTS users (
    user_id bigint NOT NULL,
    username text,
    first_name text,
    last_name text,
    language_code text,
    language text,
    is_active boolean NOT NULL DEFAULT TRUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (user_id),
    CONSTRAINT users_language_spoken CHECK (language IN ('en', 'ru'))
);

ALTER TABLE users
ADD COLUMN IF NOT EXISTS username text,
ADD COLUMN IF NOT EXISTS first_name text,
ADD COLUMN IF NOT EXISTS last_name text,
ADD COLUMN IF NOT EXISTS language_code text,
ADD COLUMN IF NOT EXISTS language text,
ADD COLUMN IF NOT EXISTS is_active boolean NOT NULL DEFAULT TRUE,
ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now();

-- Told in UTC, whatever time zone the session has.
DO $$
DECLARE
    adopted record;
BEGIN
    FOR adopted IN
        SELECT attname FROM pg_attribute
        WHERE attrelid = 'users'::regclass
            AND attname IN ('created_at', 'updated_at')
            AND atttypid = 'timestamp'::regtype
    LOOP
        EXECUTE format(
            'ALTER TABLE users ALTER COLUMN %1$I TYPE timestamptz USING %1$I AT TIME ZONE ''UTC''', adopted.attname
        );
    END LOOP;
END
$$;

-- A person of unknown age is as old as the first thing we know of them.
UPDATE users
SET
    created_at = coalesce(created_at, updated_at, now()),
    updated_at = coalesce(updated_at, created_at, now()),
    is_active = coalesce(is_active, TRUE)
WHERE created_at IS NULL OR updated_at IS NULL OR is_active IS NULL;

-- A language that we do not speak is what Telegram said, not what the person chose here.
UPDATE users
SET language_code = coalesce(language_code, language), language = NULL
WHERE language NOT IN ('en', 'ru');

-- The scan for NULLs is short beside the rewrite above, and on a new table it is nothing.
-- squawk-ignore-file adding-not-nullable-field
ALTER TABLE users
ALTER COLUMN is_active SET DEFAULT TRUE,
ALTER COLUMN is_active SET NOT NULL,
ALTER COLUMN created_at SET DEFAULT now(),
ALTER COLUMN created_at SET NOT NULL,
ALTER COLUMN updated_at SET DEFAULT now(),
ALTER COLUMN updated_at SET NOT NULL;

DO $$
DECLARE
    primary_key text;
BEGIN
    SELECT conname INTO primary_key FROM pg_constraint WHERE conrelid = 'users'::regclass AND contype = 'p';
    IF primary_key IS NULL THEN
        ALTER TABLE users ADD CONSTRAINT users_pkey PRIMARY KEY (user_id);
    ELSIF primary_key <> 'users_pkey' THEN
        EXECUTE format('ALTER TABLE users RENAME CONSTRAINT %I TO users_pkey', primary_key);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = 'users'::regclass AND conname = 'users_language_spoken'
    ) THEN
        ALTER TABLE users ADD CONSTRAINT users_language_spoken CHECK (language IN ('en', 'ru'));
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS users_active_recent_idx ON users (is_active, created_at DESC, user_id DESC);
CREATE INDEX IF NOT EXISTS users_recent_idx ON users (created_at DESC, user_id DESC);
CREATE INDEX IF NOT EXISTS users_username_prefix_idx ON users (lower(username) text_pattern_ops);

-- Search by any part of a name where pg_trgm can be had. Providers refuse an extension in ways of their own, so
-- any refusal means going without; only a lock that was not granted is worth another try of the migration.
DO $$
DECLARE
    home name;
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    SELECT nspname INTO STRICT home
    FROM pg_extension INNER JOIN pg_namespace ON pg_namespace.oid = pg_extension.extnamespace
    WHERE extname = 'pg_trgm';
    EXECUTE format(
        'CREATE INDEX IF NOT EXISTS users_username_trigram_idx ON users USING gin (username %I.gin_trgm_ops)', home
    );
EXCEPTION
    WHEN lock_not_available OR deadlock_detected THEN RAISE;
    WHEN OTHERS THEN RAISE NOTICE 'no search by parts of a name: %', SQLERRM;
END
$$;

CREATE OR REPLACE FUNCTION set_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END
$$;

-- The channel users_changed carries the ids whose rows changed, comma-separated, or * when they are too many for
-- one payload (8000 bytes; a hundred ids are 2000 at most).
CREATE OR REPLACE FUNCTION notify_users_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    changed_count integer;
    changed_ids text;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('users_changed', '*');
        RETURN NULL;
    END IF;
    SELECT count(*), string_agg(user_id::text, ',') INTO changed_count, changed_ids
    FROM (SELECT user_id FROM changed LIMIT 101) AS sample;
    IF changed_count > 0 THEN
        PERFORM pg_notify('users_changed', CASE WHEN changed_count > 100 THEN '*' ELSE changed_ids END);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER users_set_updated_at BEFORE UPDATE ON users
FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE OR REPLACE TRIGGER users_notify_updated AFTER UPDATE ON users
REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION notify_users_changed();

CREATE OR REPLACE TRIGGER users_notify_deleted AFTER DELETE ON users
REFERENCING OLD TABLE AS changed
FOR EACH STATEMENT EXECUTE FUNCTION notify_users_changed();

CREATE OR REPLACE TRIGGER users_notify_truncated AFTER TRUNCATE ON users
FOR EACH STATEMENT EXECUTE FUNCTION notify_users_changed();

COMMENT ON TABLE users IS 'People who wrote to the bot, and others whom an operator added.';
COMMENT ON COLUMN users.user_id IS 'Telegram''s id of the person; from 2^52 up for people without one.';
COMMENT ON COLUMN users.username IS 'Telegram''s @name without the @; may be missing, may pass to another person.';
COMMENT ON COLUMN users.first_name IS 'As Telegram gave it last.';
COMMENT ON COLUMN users.last_name IS 'As Telegram gave it last.';
COMMENT ON COLUMN users.language_code IS 'IETF tag of the person''s Telegram, as given last.';
COMMENT ON COLUMN users.language IS 'What the person chose here, en or ru; NULL follows language_code.';
COMMENT ON COLUMN users.is_active IS 'False once the person blocked the bot or deleted the account.';
COMMENT ON COLUMN users.created_at IS 'When the person was first seen.';
COMMENT ON COLUMN users.updated_at IS 'When this row changed last; kept by a trigger.';
COMMENT ON FUNCTION set_updated_at() IS 'Keeps updated_at, also for an UPDATE typed into psql.';
COMMENT ON FUNCTION notify_users_changed() IS 'Tells the caches of all processes which people changed.';

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0001_users'::text, 'UTF8')), 'hex'), '0001_users'::text, clock_timestamp() AT TIME ZONE 'UTC')
    ON CONFLICT (migration_hash) DO NOTHING
    RETURNING migration_hash, migration_id, applied_at_utc
)

INSERT INTO _yoyo_log (
    id, migration_hash, migration_id, operation, username, hostname, comment, created_at_utc
)
SELECT
    gen_random_uuid()::text,
    migration_hash,
    migration_id,
    'apply',
    session_user,
    left('bootstrap.sql'::text, 255),
    'sha256:a761f06adf762450ca4318030189ffa1cb0aee5ae18d63736c49f8ec253f44ba'::text,
    applied_at_utc
FROM marked;

-- migrations/0002_updates.sql

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

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0002_updates'::text, 'UTF8')), 'hex'), '0002_updates'::text, clock_timestamp() AT TIME ZONE 'UTC')
    ON CONFLICT (migration_hash) DO NOTHING
    RETURNING migration_hash, migration_id, applied_at_utc
)

INSERT INTO _yoyo_log (
    id, migration_hash, migration_id, operation, username, hostname, comment, created_at_utc
)
SELECT
    gen_random_uuid()::text,
    migration_hash,
    migration_id,
    'apply',
    session_user,
    left('bootstrap.sql'::text, 255),
    'sha256:61c560febe17d723193eff5fcc1baf46a1c375c64cb734cc052d867298e92b26'::text,
    applied_at_utc
FROM marked;

COMMIT;
