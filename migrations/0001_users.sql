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
