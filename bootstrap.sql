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

-- migrations/0003_balances.sql

-- What people have, and every movement of it: balances, the ledger, the keys of effects, and money put aside.
-- depends: 0002_updates
--
-- The two tables of a generation bot are adopted in place: rows and columns stay, money is widened, a TIMESTAMP is
-- read as UTC. A deduction that was written without its sign gets it. What the old ledger does not explain of
-- a balance is booked once, as an adjustment: from then on the two agree to the kopek.

CREATE TABLE IF NOT EXISTS balances (
    user_id bigint NOT NULL,
    balance_rub numeric(14, 2) NOT NULL DEFAULT 0,
    unbooked_rub numeric(14, 2) NOT NULL DEFAULT 0,
    booked_in oid NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT balances_pkey PRIMARY KEY (user_id),
    CONSTRAINT balances_user_known FOREIGN KEY (user_id) REFERENCES users (user_id)
);

CREATE TABLE IF NOT EXISTS payment_transactions (
    id bigint GENERATED BY DEFAULT AS IDENTITY,
    user_id bigint NOT NULL,
    amount_rub numeric(14, 2) NOT NULL,
    type text NOT NULL,
    reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    effect_key text,
    balance_rub numeric(14, 2),
    payment_id uuid,
    refund_id uuid,
    reservation_id uuid,
    CONSTRAINT payment_transactions_pkey PRIMARY KEY (id),
    CONSTRAINT payment_transactions_user_known FOREIGN KEY (user_id) REFERENCES users (user_id)
);

ALTER TABLE balances
ADD COLUMN IF NOT EXISTS balance_rub numeric(14, 2) NOT NULL DEFAULT 0,
ADD COLUMN IF NOT EXISTS unbooked_rub numeric(14, 2) NOT NULL DEFAULT 0,
ADD COLUMN IF NOT EXISTS booked_in oid NOT NULL DEFAULT 0,
ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now();

ALTER TABLE payment_transactions
ADD COLUMN IF NOT EXISTS reason text,
ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN IF NOT EXISTS effect_key text,
ADD COLUMN IF NOT EXISTS balance_rub numeric(14, 2),
ADD COLUMN IF NOT EXISTS payment_id uuid,
ADD COLUMN IF NOT EXISTS refund_id uuid,
ADD COLUMN IF NOT EXISTS reservation_id uuid;

DO $$
DECLARE
    adopted record;
BEGIN
    FOR adopted IN
        SELECT attrelid::regclass AS relation, attname FROM pg_attribute
        WHERE attrelid IN ('balances'::regclass, 'payment_transactions'::regclass)
            AND attname IN ('created_at', 'updated_at')
            AND atttypid = 'timestamp'::regtype
    LOOP
        EXECUTE format(
            'ALTER TABLE %1$s ALTER COLUMN %2$I TYPE timestamptz USING %2$I AT TIME ZONE ''UTC''',
            adopted.relation, adopted.attname
        );
    END LOOP;
    FOR adopted IN
        SELECT attrelid::regclass AS relation, attname FROM pg_attribute
        WHERE (attrelid, attname) IN (
                ('balances'::regclass, 'balance_rub'), ('payment_transactions'::regclass, 'amount_rub')
            )
            AND (atttypid <> 'numeric'::regtype OR format_type(atttypid, atttypmod) <> 'numeric(14,2)')
    LOOP
        EXECUTE format('ALTER TABLE %1$s ALTER COLUMN %2$I TYPE numeric(14, 2)', adopted.relation, adopted.attname);
    END LOOP;
    -- The numbers of a SERIAL end at 2^31; an identity goes on where it was.
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'payment_transactions'::regclass AND attname = 'id' AND attidentity <> ''
    ) THEN
        ALTER TABLE payment_transactions ALTER COLUMN id DROP DEFAULT, ALTER COLUMN id TYPE bigint;
        EXECUTE format('DROP SEQUENCE IF EXISTS %s', coalesce(
            pg_get_serial_sequence('payment_transactions', 'id'), 'payment_transactions_id_seq'
        ));
        ALTER TABLE payment_transactions ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY;
        PERFORM setval(
            pg_get_serial_sequence('payment_transactions', 'id'),
            (SELECT coalesce(max(id), 0) + 1 FROM payment_transactions), FALSE
        );
    END IF;
END
$$;

UPDATE balances
SET balance_rub = coalesce(balance_rub, 0), updated_at = coalesce(updated_at, now())
WHERE balance_rub IS NULL OR updated_at IS NULL;

-- Only where there is one: its trigger, once it has it, refuses an UPDATE of no rows as well.
DO $$
BEGIN
    IF EXISTS (SELECT FROM payment_transactions WHERE created_at IS NULL) THEN
        UPDATE payment_transactions SET created_at = now() WHERE created_at IS NULL;
    END IF;
END
$$;

-- The scans for NULLs are short beside the rewrites above, and on new tables they are nothing.
-- squawk-ignore-file adding-not-nullable-field, changing-column-type, adding-foreign-key-constraint
-- squawk-ignore-file constraint-missing-not-valid, disallowed-unique-constraint
ALTER TABLE balances
ALTER COLUMN balance_rub SET DEFAULT 0,
ALTER COLUMN balance_rub SET NOT NULL,
ALTER COLUMN updated_at SET DEFAULT now(),
ALTER COLUMN updated_at SET NOT NULL;

ALTER TABLE payment_transactions
ALTER COLUMN created_at SET DEFAULT now(),
ALTER COLUMN created_at SET NOT NULL;

CREATE TABLE IF NOT EXISTS payment_effects (
    effect_key text NOT NULL,
    user_id bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT payment_effects_pkey PRIMARY KEY (effect_key),
    CONSTRAINT payment_effects_user_known FOREIGN KEY (user_id) REFERENCES users (user_id)
);

CREATE TABLE IF NOT EXISTS payment_reservations (
    reservation_id uuid NOT NULL,
    user_id bigint NOT NULL,
    amount_rub numeric(14, 2) NOT NULL,
    captured_rub numeric(14, 2) NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'held',
    purpose text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT payment_reservations_pkey PRIMARY KEY (reservation_id),
    CONSTRAINT payment_reservations_user_known FOREIGN KEY (user_id) REFERENCES users (user_id),
    CONSTRAINT payment_reservations_amount_positive CHECK (amount_rub > 0),
    CONSTRAINT payment_reservations_status_known CHECK (status IN ('held', 'captured', 'released', 'expired')),
    CONSTRAINT payment_reservations_captured_within CHECK (
        captured_rub BETWEEN 0 AND amount_rub AND (captured_rub > 0) = (status = 'captured')
    )
);

CREATE INDEX IF NOT EXISTS payment_reservations_held_idx ON payment_reservations (user_id)
INCLUDE (amount_rub) WHERE status = 'held';
CREATE INDEX IF NOT EXISTS payment_reservations_expiring_idx ON payment_reservations (expires_at)
WHERE status = 'held';
CREATE INDEX IF NOT EXISTS balances_unbooked_idx ON balances (user_id) WHERE unbooked_rub <> 0;
CREATE INDEX IF NOT EXISTS balances_booked_in_idx ON balances (booked_in);
CREATE INDEX IF NOT EXISTS payment_transactions_user_idx ON payment_transactions (user_id, created_at DESC, id DESC);
CREATE UNIQUE INDEX IF NOT EXISTS payment_transactions_effect_once ON payment_transactions (effect_key);
CREATE INDEX IF NOT EXISTS payment_transactions_payment_idx ON payment_transactions (payment_id)
WHERE payment_id IS NOT NULL;

DO $$
DECLARE
    relation text;
    foreign_key text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['balances', 'payment_transactions'] LOOP
        SELECT conname INTO foreign_key FROM pg_constraint
        WHERE conrelid = relation::regclass AND confrelid = 'users'::regclass AND contype = 'f';
        IF foreign_key IS NULL THEN
            EXECUTE format(
                'ALTER TABLE %I ADD CONSTRAINT %I FOREIGN KEY (user_id) REFERENCES users (user_id)',
                relation, relation || '_user_known'
            );
        ELSIF foreign_key <> relation || '_user_known' THEN
            EXECUTE format(
                'ALTER TABLE %I RENAME CONSTRAINT %I TO %I', relation, foreign_key, relation || '_user_known'
            );
        END IF;
    END LOOP;
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'payment_transactions'::regclass AND conname = 'payment_transactions_signed'
    ) THEN
        UPDATE payment_transactions SET amount_rub = -amount_rub WHERE type = 'deduction' AND amount_rub > 0;
        -- Not valid: an older row may say something of its own, and nobody rewrites history.
        ALTER TABLE payment_transactions ADD CONSTRAINT payment_transactions_signed CHECK (
            (type IN ('topup', 'refund', 'referral') AND amount_rub > 0)
            OR (type IN ('deduction', 'chargeback') AND amount_rub < 0)
            OR (type = 'adjustment' AND amount_rub <> 0)
        ) NOT VALID;
    END IF;
END
$$;

-- A ledger that is new to a balance: what it does not explain is booked, and it explains everything from here on.
-- Nobody may move money between the sum and the entry.
LOCK TABLE balances IN SHARE ROW EXCLUSIVE MODE;

-- Who has entries and no balance, for that was lost or never made, has what they add up to.
INSERT INTO balances (user_id, balance_rub, booked_in)
SELECT
    entry.user_id,
    sum(entry.amount_rub) - coalesce((
        SELECT sum(held.amount_rub)
        FROM payment_reservations AS held
        WHERE held.user_id = entry.user_id AND held.status = 'held'
    ), 0),
    'payment_transactions'::regclass::oid
FROM payment_transactions AS entry
WHERE NOT EXISTS (SELECT FROM balances WHERE balances.user_id = entry.user_id)
GROUP BY entry.user_id;

WITH booked AS (
    SELECT user_id, sum(amount_rub) AS amount_rub FROM payment_transactions GROUP BY user_id
),

held AS (
    SELECT user_id, sum(amount_rub) AS amount_rub FROM payment_reservations WHERE status = 'held' GROUP BY user_id
),

explained AS (
    UPDATE balances
    SET booked_in = 'payment_transactions'::regclass::oid, unbooked_rub = 0
    WHERE booked_in <> 'payment_transactions'::regclass::oid
    RETURNING user_id, balance_rub
)

INSERT INTO payment_transactions (user_id, amount_rub, type, reason, effect_key, balance_rub)
SELECT
    explained.user_id,
    explained.balance_rub + coalesce(held.amount_rub, 0) - coalesce(booked.amount_rub, 0),
    'adjustment',
    'opening balance',
    'opening:' || gen_random_uuid(),
    explained.balance_rub
FROM explained
LEFT JOIN booked ON explained.user_id = booked.user_id
LEFT JOIN held ON explained.user_id = held.user_id
WHERE explained.balance_rub + coalesce(held.amount_rub, 0) <> coalesce(booked.amount_rub, 0);

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation', HINT = 'Book the opposite instead.';
END
$$;

CREATE OR REPLACE TRIGGER payment_transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
ON payment_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE TRIGGER balances_set_updated_at BEFORE UPDATE ON balances
FOR EACH ROW EXECUTE FUNCTION set_updated_at();

COMMENT ON TABLE balances IS 'What each person can spend. With what is held it is the sum of his ledger entries.';
COMMENT ON COLUMN balances.user_id IS 'Whose.';
COMMENT ON COLUMN balances.balance_rub IS 'What can be spent now; below zero after a processor took money back.';
COMMENT ON COLUMN balances.unbooked_rub IS 'Movements made while the ledger was missing; booked when it returns.';
COMMENT ON COLUMN balances.booked_in IS 'Oid of the ledger that explains this balance whole; any other lost its past.';
COMMENT ON COLUMN balances.created_at IS 'When the person first had money here.';
COMMENT ON COLUMN balances.updated_at IS 'When this row changed last; kept by a trigger.';

COMMENT ON TABLE payment_transactions IS 'The ledger: every movement of a balance, signed, append-only.';
COMMENT ON COLUMN payment_transactions.id IS 'Number of the entry.';
COMMENT ON COLUMN payment_transactions.user_id IS 'Whose balance moved.';
COMMENT ON COLUMN payment_transactions.amount_rub IS 'By how much; negative takes away.';
COMMENT ON COLUMN payment_transactions.type IS 'topup, deduction, refund, referral, chargeback or adjustment.';
COMMENT ON COLUMN payment_transactions.reason IS 'Why, for people.';
COMMENT ON COLUMN payment_transactions.created_at IS 'When it was booked.';
COMMENT ON COLUMN payment_transactions.effect_key IS 'What caused it; NULL for entries older than this key.';
COMMENT ON COLUMN payment_transactions.balance_rub IS 'What could be spent after it.';
COMMENT ON COLUMN payment_transactions.payment_id IS 'The payment that it belongs to.';
COMMENT ON COLUMN payment_transactions.refund_id IS 'The refund or dispute that it belongs to.';
COMMENT ON COLUMN payment_transactions.reservation_id IS 'The reservation that was captured.';

COMMENT ON TABLE payment_effects IS 'What has had its effect on a balance; keys never expire and need no ledger.';
COMMENT ON COLUMN payment_effects.effect_key IS 'The cause, mostly the processor''s id of the money.';
COMMENT ON COLUMN payment_effects.user_id IS 'Whose balance it moved.';
COMMENT ON COLUMN payment_effects.created_at IS 'When it had its effect.';

COMMENT ON TABLE payment_reservations IS 'Money taken out of balances and not yet spent.';
COMMENT ON COLUMN payment_reservations.reservation_id IS 'Chosen by whoever reserves, so that twice is once.';
COMMENT ON COLUMN payment_reservations.user_id IS 'Whose money.';
COMMENT ON COLUMN payment_reservations.amount_rub IS 'How much was put aside.';
COMMENT ON COLUMN payment_reservations.captured_rub IS 'How much of it was spent; the rest went back.';
COMMENT ON COLUMN payment_reservations.status IS 'held, captured, released or expired.';
COMMENT ON COLUMN payment_reservations.purpose IS 'What for, for people.';
COMMENT ON COLUMN payment_reservations.created_at IS 'When it was put aside.';
COMMENT ON COLUMN payment_reservations.expires_at IS 'When it goes back unless somebody prolongs it; NULL: never.';
COMMENT ON COLUMN payment_reservations.finished_at IS 'When it was captured, released or expired.';
COMMENT ON FUNCTION refuse_change() IS 'Keeps a table append-only.';

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0003_balances'::text, 'UTF8')), 'hex'), '0003_balances'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:e282bcdd4fed50d1d19c8cc38e71bccff5fef182b614e4fe2347167149a53bf1'::text,
    applied_at_utc
FROM marked;

-- migrations/0004_payments.sql

-- What people pay: orders, the names that processors give them, everything processors said, and money given back.
-- depends: 0003_balances

CREATE TABLE IF NOT EXISTS payments (
    payment_id uuid NOT NULL,
    user_id bigint NOT NULL,
    provider text NOT NULL,
    provider_payment_id text,
    status text NOT NULL DEFAULT 'creating',
    amount numeric(14, 2) NOT NULL,
    currency text NOT NULL DEFAULT 'RUB',
    credit_rub numeric(14, 2) NOT NULL,
    refunded_amount numeric(14, 2) NOT NULL DEFAULT 0,
    refunded_rub numeric(14, 2) NOT NULL DEFAULT 0,
    pack_id text NOT NULL,
    pay_url text,
    test boolean NOT NULL DEFAULT FALSE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    settled_at timestamptz,
    told_at timestamptz,
    checks integer NOT NULL DEFAULT 0,
    check_at timestamptz,
    CONSTRAINT payments_pkey PRIMARY KEY (payment_id),
    CONSTRAINT payments_user_known FOREIGN KEY (user_id) REFERENCES users (user_id),
    CONSTRAINT payments_provider_payment_once UNIQUE (provider, provider_payment_id),
    CONSTRAINT payments_status_known CHECK (
        status IN ('creating', 'pending', 'waiting_for_capture', 'succeeded', 'canceled', 'expired', 'review')
    ),
    CONSTRAINT payments_currency_code CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT payments_amount_positive CHECK (amount > 0 AND credit_rub > 0),
    CONSTRAINT payments_refunds_within CHECK (
        refunded_amount BETWEEN 0 AND amount AND refunded_rub BETWEEN 0 AND credit_rub
    ),
    CONSTRAINT payments_settled_when CHECK ((settled_at IS NOT NULL) = (status = 'succeeded'))
);

CREATE INDEX IF NOT EXISTS payments_recent_idx ON payments (created_at DESC, payment_id DESC);
CREATE INDEX IF NOT EXISTS payments_status_recent_idx ON payments (status, created_at DESC, payment_id DESC);
CREATE INDEX IF NOT EXISTS payments_user_idx ON payments (user_id, created_at DESC);
CREATE INDEX IF NOT EXISTS payments_open_idx ON payments (check_at)
WHERE status IN ('creating', 'pending', 'waiting_for_capture');
CREATE INDEX IF NOT EXISTS payments_untold_idx ON payments (check_at) WHERE status = 'succeeded' AND told_at IS NULL;

CREATE TABLE IF NOT EXISTS payment_references (
    provider text NOT NULL,
    reference text NOT NULL,
    payment_id uuid NOT NULL,
    CONSTRAINT payment_references_pkey PRIMARY KEY (provider, reference),
    CONSTRAINT payment_references_payment_known FOREIGN KEY (payment_id) REFERENCES payments (payment_id)
);

CREATE INDEX IF NOT EXISTS payment_references_payment_idx ON payment_references (payment_id);

CREATE TABLE IF NOT EXISTS payment_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    provider text NOT NULL,
    delivery_key text NOT NULL,
    name text NOT NULL,
    reference text,
    body bytea NOT NULL,
    status text NOT NULL DEFAULT 'waiting',
    reason text NOT NULL DEFAULT '',
    payment_id uuid,
    deliveries integer NOT NULL DEFAULT 1,
    attempts integer NOT NULL DEFAULT 0,
    received_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT payment_events_pkey PRIMARY KEY (id),
    CONSTRAINT payment_events_delivered_once UNIQUE (provider, delivery_key),
    CONSTRAINT payment_events_status_known CHECK (status IN ('waiting', 'applied', 'ignored', 'review', 'closed')),
    CONSTRAINT payment_events_finished_when CHECK ((finished_at IS NULL) = (status IN ('waiting', 'review')))
);

CREATE INDEX IF NOT EXISTS payment_events_due_idx ON payment_events (due_at) WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS payment_events_waiting_idx ON payment_events (provider, reference)
WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS payment_events_review_idx ON payment_events (received_at DESC, id DESC)
WHERE status IN ('waiting', 'review');
CREATE INDEX IF NOT EXISTS payment_events_payment_idx ON payment_events (payment_id) WHERE payment_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS payment_refunds (
    refund_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    provider text NOT NULL,
    provider_refund_id text,
    kind text NOT NULL DEFAULT 'refund',
    status text NOT NULL,
    amount numeric(14, 2) NOT NULL,
    amount_rub numeric(14, 2) NOT NULL DEFAULT 0,
    reservation_id uuid,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    checks integer NOT NULL DEFAULT 0,
    check_at timestamptz,
    CONSTRAINT payment_refunds_pkey PRIMARY KEY (refund_id),
    CONSTRAINT payment_refunds_payment_known FOREIGN KEY (payment_id) REFERENCES payments (payment_id),
    CONSTRAINT payment_refunds_provider_refund_once UNIQUE (provider, provider_refund_id),
    CONSTRAINT payment_refunds_kind_known CHECK (kind IN ('refund', 'dispute')),
    CONSTRAINT payment_refunds_status_known CHECK (status IN ('requested', 'pending', 'succeeded', 'failed')),
    CONSTRAINT payment_refunds_amount_positive CHECK (amount > 0 AND amount_rub >= 0)
);

CREATE INDEX IF NOT EXISTS payment_refunds_payment_idx ON payment_refunds (payment_id);
CREATE INDEX IF NOT EXISTS payment_refunds_open_idx ON payment_refunds (check_at)
WHERE status IN ('requested', 'pending');

CREATE OR REPLACE TRIGGER payments_set_updated_at BEFORE UPDATE ON payments
FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER payment_refunds_set_updated_at BEFORE UPDATE ON payment_refunds
FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER payments_kept BEFORE DELETE OR TRUNCATE ON payments
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

COMMENT ON TABLE payments IS 'Orders: what a person is to pay, where, and what he gets for it. Never deleted.';
COMMENT ON COLUMN payments.payment_id IS 'Ours; sent to the processor as metadata and as idempotency key.';
COMMENT ON COLUMN payments.user_id IS 'Who pays, and who is credited.';
COMMENT ON COLUMN payments.provider IS 'The processor.';
COMMENT ON COLUMN payments.provider_payment_id IS 'The processor''s id; NULL until it told one.';
COMMENT ON COLUMN payments.status IS 'creating, pending, waiting_for_capture, succeeded, canceled, expired or review.';
COMMENT ON COLUMN payments.amount IS 'What is to be paid, in the currency''s main unit.';
COMMENT ON COLUMN payments.currency IS 'ISO 4217, or XTR for Telegram Stars.';
COMMENT ON COLUMN payments.credit_rub IS 'What the balance gets for it.';
COMMENT ON COLUMN payments.refunded_amount IS 'What went back of the amount, disputes included.';
COMMENT ON COLUMN payments.refunded_rub IS 'What the balance lost for that.';
COMMENT ON COLUMN payments.pack_id IS 'What was bought, by its id in the catalogue.';
COMMENT ON COLUMN payments.pay_url IS 'Where the person pays.';
COMMENT ON COLUMN payments.test IS 'Made with the processor''s test keys.';
COMMENT ON COLUMN payments.created_at IS 'When it was ordered.';
COMMENT ON COLUMN payments.updated_at IS 'When this row changed last; kept by a trigger.';
COMMENT ON COLUMN payments.expires_at IS 'Until when it can be paid.';
COMMENT ON COLUMN payments.settled_at IS 'When the balance was credited.';
COMMENT ON COLUMN payments.told_at IS 'When the person was told that the money arrived.';
COMMENT ON COLUMN payments.checks IS 'How often the processor was asked without news.';
COMMENT ON COLUMN payments.check_at IS 'When to ask the processor, or to tell the person, next.';

COMMENT ON TABLE payment_references IS 'The names under which processors speak of a payment, and whose it is.';
COMMENT ON COLUMN payment_references.provider IS 'The processor.';
COMMENT ON COLUMN payment_references.reference IS 'Its id of a payment, checkout session, intent or charge.';
COMMENT ON COLUMN payment_references.payment_id IS 'The payment that is meant.';

COMMENT ON TABLE payment_events IS 'Everything that processors said, whole, kept before it was acted on.';
COMMENT ON COLUMN payment_events.id IS 'In the order of arrival.';
COMMENT ON COLUMN payment_events.provider IS 'Who said it.';
COMMENT ON COLUMN payment_events.delivery_key IS 'The same for each delivery of the same thing.';
COMMENT ON COLUMN payment_events.name IS 'The processor''s name of the event.';
COMMENT ON COLUMN payment_events.reference IS 'The processor''s first id of the payment that is meant.';
COMMENT ON COLUMN payment_events.body IS 'What came, byte for byte.';
COMMENT ON COLUMN payment_events.status IS 'waiting, applied, ignored, review (for an operator) or closed (by one).';
COMMENT ON COLUMN payment_events.reason IS 'Why it waits, is ignored or is to be reviewed.';
COMMENT ON COLUMN payment_events.payment_id IS 'The payment that it was applied to.';
COMMENT ON COLUMN payment_events.deliveries IS 'How often it came.';
COMMENT ON COLUMN payment_events.attempts IS 'How often recovery tried to apply it.';
COMMENT ON COLUMN payment_events.received_at IS 'When it came first.';
COMMENT ON COLUMN payment_events.due_at IS 'When to try again to apply it.';
COMMENT ON COLUMN payment_events.finished_at IS 'When it was applied, ignored or closed.';

COMMENT ON TABLE payment_refunds IS 'Money given back, and money that a dispute took back.';
COMMENT ON COLUMN payment_refunds.refund_id IS 'Ours; the idempotency key at the processor.';
COMMENT ON COLUMN payment_refunds.payment_id IS 'Of which payment.';
COMMENT ON COLUMN payment_refunds.provider IS 'The processor.';
COMMENT ON COLUMN payment_refunds.provider_refund_id IS 'The processor''s id; NULL until it told one.';
COMMENT ON COLUMN payment_refunds.kind IS 'refund or dispute.';
COMMENT ON COLUMN payment_refunds.status IS 'requested, pending, succeeded, failed (the money came back to us).';
COMMENT ON COLUMN payment_refunds.amount IS 'In the currency of the payment.';
COMMENT ON COLUMN payment_refunds.amount_rub IS 'What the balance lost for it.';
COMMENT ON COLUMN payment_refunds.reservation_id IS 'Holds the roubles of an operator''s refund until it is certain.';
COMMENT ON COLUMN payment_refunds.reason IS 'Why, in the words of whoever asked.';
COMMENT ON COLUMN payment_refunds.created_at IS 'When it was asked for, or first heard of.';
COMMENT ON COLUMN payment_refunds.updated_at IS 'When this row changed last; kept by a trigger.';
COMMENT ON COLUMN payment_refunds.checks IS 'How often the processor was asked without news.';
COMMENT ON COLUMN payment_refunds.check_at IS 'When to ask the processor next.';

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0004_payments'::text, 'UTF8')), 'hex'), '0004_payments'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:5072945cbbf002f24729ffbff1a341edd9bdc9837ed4d0165ce13c50e67e0fa6'::text,
    applied_at_utc
FROM marked;

-- migrations/0005_idempotency_keys.sql

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

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0005_idempotency_keys'::text, 'UTF8')), 'hex'), '0005_idempotency_keys'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:229b29ecb26402c77ec302bbdb7c15e7b2e1fd2c66497b1033ce2e40a23f2373'::text,
    applied_at_utc
FROM marked;

-- migrations/0006_generation_jobs.sql

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

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0006_generation_jobs'::text, 'UTF8')), 'hex'), '0006_generation_jobs'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:08044ea3063c8d78cacb4d169d1cc8e4fbf5194b6fdf568265250229f9652238'::text,
    applied_at_utc
FROM marked;

-- migrations/0007_generation_events.sql

-- What became of each generation: counted for operators, and missed by nobody while it is gone.
-- depends: 0006_generation_jobs
--
-- The table of a generation bot is adopted in place: rows and columns stay, prices are widened, a TIMESTAMP is read
-- as UTC, and the numbers of a SERIAL go on as an identity.

CREATE TABLE IF NOT EXISTS generation_events (
    id bigint GENERATED BY DEFAULT AS IDENTITY,
    user_id bigint NOT NULL,
    chat_id bigint,
    model_id text NOT NULL,
    category text,
    status text NOT NULL,
    is_free_applied boolean NOT NULL DEFAULT FALSE,
    price_rub numeric(14, 2) NOT NULL DEFAULT 0,
    request_id text,
    task_id text,
    error_code text,
    error_message text,
    duration_ms integer,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT generation_events_pkey PRIMARY KEY (id),
    CONSTRAINT generation_events_user_known FOREIGN KEY (user_id) REFERENCES users (user_id)
)
-- A table that only grows at its end is cleaned up by what was added, so that its indexes can be read alone.
WITH (autovacuum_vacuum_insert_scale_factor = 0.02);

ALTER TABLE generation_events
ADD COLUMN IF NOT EXISTS chat_id bigint,
ADD COLUMN IF NOT EXISTS category text,
ADD COLUMN IF NOT EXISTS is_free_applied boolean NOT NULL DEFAULT FALSE,
ADD COLUMN IF NOT EXISTS price_rub numeric(14, 2) NOT NULL DEFAULT 0,
ADD COLUMN IF NOT EXISTS request_id text,
ADD COLUMN IF NOT EXISTS task_id text,
ADD COLUMN IF NOT EXISTS error_code text,
ADD COLUMN IF NOT EXISTS error_message text,
ADD COLUMN IF NOT EXISTS duration_ms integer,
ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now();

ALTER TABLE generation_events SET (autovacuum_vacuum_insert_scale_factor = 0.02);

-- The changes of type rewrite an adopted table once, under an exclusive lock: adopt it with the old bot stopped.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'generation_events'::regclass AND attname = 'created_at' AND atttypid = 'timestamp'::regtype
    ) THEN
        ALTER TABLE generation_events ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC';
    END IF;
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'generation_events'::regclass AND attname = 'price_rub'
            AND format_type(atttypid, atttypmod) <> 'numeric(14,2)'
    ) THEN
        ALTER TABLE generation_events ALTER COLUMN price_rub TYPE numeric(14, 2);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'generation_events'::regclass AND attname = 'id' AND attidentity <> ''
    ) THEN
        ALTER TABLE generation_events ALTER COLUMN id DROP DEFAULT, ALTER COLUMN id TYPE bigint;
        EXECUTE format('DROP SEQUENCE IF EXISTS %s', coalesce(
            pg_get_serial_sequence('generation_events', 'id'), 'generation_events_id_seq'
        ));
        ALTER TABLE generation_events ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY;
        PERFORM setval(
            pg_get_serial_sequence('generation_events', 'id'),
            (SELECT coalesce(max(id), 0) + 1 FROM generation_events), FALSE
        );
    END IF;
END
$$;

UPDATE generation_events
SET
    is_free_applied = coalesce(is_free_applied, FALSE),
    price_rub = coalesce(price_rub, 0),
    created_at = coalesce(created_at, now())
WHERE is_free_applied IS NULL OR price_rub IS NULL OR created_at IS NULL;

-- The scans for NULLs are short beside the rewrites above, and on a new table they are nothing.
-- squawk-ignore-file adding-not-nullable-field, changing-column-type, require-concurrent-index-creation
ALTER TABLE generation_events
ALTER COLUMN is_free_applied SET DEFAULT FALSE,
ALTER COLUMN is_free_applied SET NOT NULL,
ALTER COLUMN price_rub SET DEFAULT 0,
ALTER COLUMN price_rub SET NOT NULL,
ALTER COLUMN created_at SET DEFAULT now(),
ALTER COLUMN created_at SET NOT NULL;

DO $$
DECLARE
    foreign_key text;
BEGIN
    SELECT conname INTO foreign_key FROM pg_constraint
    WHERE conrelid = 'generation_events'::regclass AND confrelid = 'users'::regclass AND contype = 'f';
    IF foreign_key IS NULL THEN
        ALTER TABLE generation_events
        ADD CONSTRAINT generation_events_user_known FOREIGN KEY (user_id) REFERENCES users (user_id);
    ELSIF foreign_key <> 'generation_events_user_known' THEN
        EXECUTE format(
            'ALTER TABLE generation_events RENAME CONSTRAINT %I TO generation_events_user_known', foreign_key
        );
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'generation_events'::regclass AND conname = 'generation_events_status_known'
    ) THEN
        -- Not valid: an older row may have a status of its own, and nobody rewrites history.
        ALTER TABLE generation_events ADD CONSTRAINT generation_events_status_known
        CHECK (status IN ('started', 'success', 'failed', 'timeout')) NOT VALID;
    END IF;
END
$$;

-- One person's numbers are read from the index alone.
CREATE INDEX IF NOT EXISTS generation_events_user_idx ON generation_events (user_id, created_at)
INCLUDE (status, is_free_applied, price_rub);
-- Everybody's numbers, and what is old enough to be forgotten.
CREATE INDEX IF NOT EXISTS generation_events_created_idx ON generation_events (created_at, id);
CREATE INDEX IF NOT EXISTS generation_events_failed_idx ON generation_events (created_at)
WHERE status IN ('failed', 'timeout');

COMMENT ON TABLE generation_events IS 'What became of generations, for operators; nothing is decided by it.';
COMMENT ON COLUMN generation_events.id IS 'Number of the event.';
COMMENT ON COLUMN generation_events.user_id IS 'Whose generation.';
COMMENT ON COLUMN generation_events.chat_id IS 'Where it was asked for.';
COMMENT ON COLUMN generation_events.model_id IS 'The model, as the catalogue named it then.';
COMMENT ON COLUMN generation_events.category IS 'What the model makes, as the catalogue named it then.';
COMMENT ON COLUMN generation_events.status IS 'started, success, failed or timeout.';
COMMENT ON COLUMN generation_events.is_free_applied IS 'Whether it cost nothing.';
COMMENT ON COLUMN generation_events.price_rub IS 'What it cost, or would have cost.';
COMMENT ON COLUMN generation_events.request_id IS 'The job, where there is one.';
COMMENT ON COLUMN generation_events.task_id IS 'The provider''s id of the task.';
COMMENT ON COLUMN generation_events.error_code IS 'Why it failed, as a word.';
COMMENT ON COLUMN generation_events.error_message IS 'Why it failed, cut short and without secrets.';
COMMENT ON COLUMN generation_events.duration_ms IS 'Milliseconds from the order to the end.';
COMMENT ON COLUMN generation_events.created_at IS 'When it happened.';

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0007_generation_events'::text, 'UTF8')), 'hex'), '0007_generation_events'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:635e2f8bbf80793bbbde8010db81b914d3761339ed210962367adb7479063aef'::text,
    applied_at_utc
FROM marked;

-- migrations/0008_projects.sql

-- Where people keep what was made for them: projects, and what is in each.
-- depends: 0007_generation_events
--
-- The two tables of a generation bot are adopted in place: rows and columns stay, a TIMESTAMP is read as UTC, and the
-- numbers of a SERIAL go on as an identity.

CREATE TABLE IF NOT EXISTS projects (
    id bigint GENERATED BY DEFAULT AS IDENTITY,
    user_id bigint NOT NULL,
    name text NOT NULL,
    description text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT projects_pkey PRIMARY KEY (id),
    CONSTRAINT projects_user_known FOREIGN KEY (user_id) REFERENCES users (user_id)
);

CREATE TABLE IF NOT EXISTS project_history (
    id bigint GENERATED BY DEFAULT AS IDENTITY,
    project_id bigint NOT NULL,
    user_id bigint NOT NULL,
    model_id text NOT NULL,
    inputs jsonb NOT NULL,
    outputs jsonb,
    status text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    job_id uuid,
    CONSTRAINT project_history_pkey PRIMARY KEY (id),
    CONSTRAINT project_history_project_known FOREIGN KEY (project_id) REFERENCES projects (id) ON DELETE CASCADE,
    CONSTRAINT project_history_user_known FOREIGN KEY (user_id) REFERENCES users (user_id)
);

ALTER TABLE projects
ADD COLUMN IF NOT EXISTS description text,
ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN IF NOT EXISTS updated_at timestamptz NOT NULL DEFAULT now();

ALTER TABLE project_history
ADD COLUMN IF NOT EXISTS outputs jsonb,
ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN IF NOT EXISTS job_id uuid;

-- The changes of type rewrite adopted tables once, under an exclusive lock: adopt them with the old bot stopped.
DO $$
DECLARE
    adopted record;
    relation text;
BEGIN
    FOR adopted IN
        SELECT attrelid::regclass AS relation, attname FROM pg_attribute
        WHERE attrelid IN ('projects'::regclass, 'project_history'::regclass)
            AND attname IN ('created_at', 'updated_at')
            AND atttypid = 'timestamp'::regtype
    LOOP
        EXECUTE format(
            'ALTER TABLE %1$s ALTER COLUMN %2$I TYPE timestamptz USING %2$I AT TIME ZONE ''UTC''',
            adopted.relation, adopted.attname
        );
    END LOOP;
    FOREACH relation IN ARRAY ARRAY['projects', 'project_history'] LOOP
        IF NOT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = relation::regclass AND attname = 'id' AND attidentity <> ''
        ) THEN
            EXECUTE format('ALTER TABLE %I ALTER COLUMN id DROP DEFAULT, ALTER COLUMN id TYPE bigint', relation);
            EXECUTE format(
                'DROP SEQUENCE IF EXISTS %s', coalesce(pg_get_serial_sequence(relation, 'id'), relation || '_id_seq')
            );
            EXECUTE format('ALTER TABLE %I ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY', relation);
            EXECUTE format(
                'SELECT setval(%L, (SELECT coalesce(max(id), 0) + 1 FROM %I), FALSE)',
                pg_get_serial_sequence(relation, 'id'), relation
            );
        END IF;
    END LOOP;
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'project_history'::regclass AND attname = 'project_id' AND atttypid <> 'bigint'::regtype
    ) THEN
        ALTER TABLE project_history ALTER COLUMN project_id TYPE bigint;
    END IF;
END
$$;

-- A project of unknown age is as old as the first thing we know of it.
UPDATE projects
SET created_at = coalesce(created_at, updated_at, now()), updated_at = coalesce(updated_at, created_at, now())
WHERE created_at IS NULL OR updated_at IS NULL;

-- What is in a project came no earlier than the project.
UPDATE project_history
SET created_at = projects.created_at
FROM projects
WHERE project_history.created_at IS NULL AND projects.id = project_history.project_id;

-- The scans for NULLs are short beside the rewrites above, and on new tables they are nothing.
-- squawk-ignore-file adding-not-nullable-field, changing-column-type, adding-foreign-key-constraint
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-creation
ALTER TABLE projects
ALTER COLUMN created_at SET DEFAULT now(),
ALTER COLUMN created_at SET NOT NULL,
ALTER COLUMN updated_at SET DEFAULT now(),
ALTER COLUMN updated_at SET NOT NULL;

ALTER TABLE project_history
ALTER COLUMN created_at SET DEFAULT now(),
ALTER COLUMN created_at SET NOT NULL;

DO $$
DECLARE
    wanted record;
    found record;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            ('projects', 'users', 'user_id', 'user_id', 'projects_user_known', ''),
            ('project_history', 'users', 'user_id', 'user_id', 'project_history_user_known', ''),
            ('project_history', 'projects', 'project_id', 'id', 'project_history_project_known', 'ON DELETE CASCADE')
        ) AS keys (relation, parent, own, theirs, name, further)
    LOOP
        SELECT conname, confdeltype INTO found FROM pg_constraint
        WHERE conrelid = wanted.relation::regclass AND confrelid = wanted.parent::regclass AND contype = 'f';
        -- A key that does not take what is in a project with it is another key.
        IF found.conname IS NOT NULL AND found.confdeltype <> 'c' AND wanted.further <> '' THEN
            EXECUTE format('ALTER TABLE %I DROP CONSTRAINT %I', wanted.relation, found.conname);
            found.conname = NULL;
        END IF;
        IF found.conname IS NULL THEN
            EXECUTE format(
                'ALTER TABLE %I ADD CONSTRAINT %I FOREIGN KEY (%I) REFERENCES %I (%I) %s',
                wanted.relation, wanted.name, wanted.own, wanted.parent, wanted.theirs, wanted.further
            );
        ELSIF found.conname <> wanted.name THEN
            EXECUTE format(
                'ALTER TABLE %I RENAME CONSTRAINT %I TO %I', wanted.relation, found.conname, wanted.name
            );
        END IF;
    END LOOP;
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'project_history'::regclass AND conname = 'project_history_job_once'
    ) THEN
        -- squawk-ignore disallowed-unique-constraint
        ALTER TABLE project_history ADD CONSTRAINT project_history_job_once UNIQUE (project_id, job_id);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'project_history'::regclass AND conname = 'project_history_status_known'
    ) THEN
        -- Not valid: an older row may have a status of its own, and nobody rewrites history.
        ALTER TABLE project_history ADD CONSTRAINT project_history_status_known
        CHECK (status IN ('started', 'success', 'failed', 'timeout')) NOT VALID;
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS projects_user_idx ON projects (user_id, updated_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS project_history_project_idx ON project_history (project_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS project_history_user_idx ON project_history (user_id);

CREATE OR REPLACE TRIGGER projects_set_updated_at BEFORE UPDATE ON projects
FOR EACH ROW EXECUTE FUNCTION set_updated_at();

COMMENT ON TABLE projects IS 'Where people keep what was made for them.';
COMMENT ON COLUMN projects.id IS 'Number of the project.';
COMMENT ON COLUMN projects.user_id IS 'Whose.';
COMMENT ON COLUMN projects.name IS 'As he calls it.';
COMMENT ON COLUMN projects.description IS 'What he says about it.';
COMMENT ON COLUMN projects.created_at IS 'When it was begun.';
COMMENT ON COLUMN projects.updated_at IS 'When this row changed last; kept by a trigger.';

COMMENT ON TABLE project_history IS 'What is in projects: each result that was saved, or order that was kept.';
COMMENT ON COLUMN project_history.id IS 'Number of the entry.';
COMMENT ON COLUMN project_history.project_id IS 'The project; with it goes what is in it.';
COMMENT ON COLUMN project_history.user_id IS 'Whose.';
COMMENT ON COLUMN project_history.model_id IS 'The model, as the catalogue named it then.';
COMMENT ON COLUMN project_history.inputs IS 'What was asked for.';
COMMENT ON COLUMN project_history.outputs IS 'What was made: text, or where the file is.';
COMMENT ON COLUMN project_history.status IS 'started, success, failed or timeout.';
COMMENT ON COLUMN project_history.created_at IS 'When it was saved.';
COMMENT ON COLUMN project_history.job_id IS 'The job that made it, so that twice is once; NULL for older ones.';

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0008_projects'::text, 'UTF8')), 'hex'), '0008_projects'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:4e536978bc6e223d3336a17e46b25a7d0fe6909a13eb7129ef5ae4b2b6403838'::text,
    applied_at_utc
FROM marked;

-- migrations/0009_referrals.sql

-- Who brought whom, what it earned, and what followed a person's first /start.
-- depends: 0008_projects
--
-- The table of a generation bot is adopted in place: every row stays, rewards are widened, a TIMESTAMP is read as UTC,
-- and the numbers of a SERIAL go on as an identity. A row that breaks our rules stays too, and says why it is void.

CREATE TABLE IF NOT EXISTS referrals (
    id bigint GENERATED BY DEFAULT AS IDENTITY,
    referrer_id bigint NOT NULL,
    referred_id bigint NOT NULL,
    reward_rub numeric(14, 2) NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    rewarded_at timestamptz,
    tell_at timestamptz,
    void_reason text,
    CONSTRAINT referrals_pkey PRIMARY KEY (id),
    CONSTRAINT referrals_referrer_known FOREIGN KEY (referrer_id) REFERENCES users (user_id),
    CONSTRAINT referrals_referred_known FOREIGN KEY (referred_id) REFERENCES users (user_id),
    CONSTRAINT referrals_pair_once UNIQUE (referrer_id, referred_id)
);

ALTER TABLE referrals
ADD COLUMN IF NOT EXISTS reward_rub numeric(14, 2) NOT NULL DEFAULT 0,
ADD COLUMN IF NOT EXISTS created_at timestamptz NOT NULL DEFAULT now(),
ADD COLUMN IF NOT EXISTS rewarded_at timestamptz,
ADD COLUMN IF NOT EXISTS tell_at timestamptz,
ADD COLUMN IF NOT EXISTS void_reason text;

-- The changes of type rewrite an adopted table once, under an exclusive lock: adopt it with the old bot stopped.
DO $$
BEGIN
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'referrals'::regclass AND attname = 'created_at' AND atttypid = 'timestamp'::regtype
    ) THEN
        ALTER TABLE referrals ALTER COLUMN created_at TYPE timestamptz USING created_at AT TIME ZONE 'UTC';
    END IF;
    IF EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'referrals'::regclass AND attname = 'reward_rub'
            AND format_type(atttypid, atttypmod) <> 'numeric(14,2)'
    ) THEN
        ALTER TABLE referrals ALTER COLUMN reward_rub TYPE numeric(14, 2);
    END IF;
    IF NOT EXISTS (
        SELECT FROM pg_attribute WHERE attrelid = 'referrals'::regclass AND attname = 'id' AND attidentity <> ''
    ) THEN
        ALTER TABLE referrals ALTER COLUMN id DROP DEFAULT, ALTER COLUMN id TYPE bigint;
        EXECUTE format('DROP SEQUENCE IF EXISTS %s', coalesce(
            pg_get_serial_sequence('referrals', 'id'), 'referrals_id_seq'
        ));
        ALTER TABLE referrals ALTER COLUMN id ADD GENERATED BY DEFAULT AS IDENTITY;
        PERFORM setval(
            pg_get_serial_sequence('referrals', 'id'), (SELECT coalesce(max(id), 0) + 1 FROM referrals), FALSE
        );
    END IF;
END
$$;

UPDATE referrals
SET reward_rub = coalesce(reward_rub, 0), created_at = coalesce(created_at, now())
WHERE reward_rub IS NULL OR created_at IS NULL;

-- The scans for NULLs are short beside the rewrites above, and on a new table they are nothing.
-- squawk-ignore-file adding-not-nullable-field, changing-column-type, adding-foreign-key-constraint
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-creation, disallowed-unique-constraint
ALTER TABLE referrals
ALTER COLUMN reward_rub SET DEFAULT 0,
ALTER COLUMN reward_rub SET NOT NULL,
ALTER COLUMN created_at SET DEFAULT now(),
ALTER COLUMN created_at SET NOT NULL;

-- What was paid then is not paid again.
UPDATE referrals SET rewarded_at = created_at WHERE reward_rub > 0 AND rewarded_at IS NULL;

UPDATE referrals SET void_reason = 'self-referral' WHERE referrer_id = referred_id AND void_reason IS NULL;

-- The first to bring a person brought him.
WITH valid AS (
    SELECT id, row_number() OVER (PARTITION BY referred_id ORDER BY created_at, id) AS position
    FROM referrals
    WHERE void_reason IS NULL
)

UPDATE referrals
SET void_reason = 'second referrer'
FROM valid
WHERE valid.id = referrals.id AND valid.position > 1;

DO $$
DECLARE
    wanted record;
    found text;
BEGIN
    FOR wanted IN
        SELECT * FROM (VALUES
            (
                'referrals_referrer_known', 'f', ARRAY['referrer_id'],
                'ADD CONSTRAINT %I FOREIGN KEY (referrer_id) REFERENCES users (user_id)'
            ),
            (
                'referrals_referred_known', 'f', ARRAY['referred_id'],
                'ADD CONSTRAINT %I FOREIGN KEY (referred_id) REFERENCES users (user_id)'
            ),
            (
                'referrals_pair_once', 'u', ARRAY['referrer_id', 'referred_id'],
                'ADD CONSTRAINT %I UNIQUE (referrer_id, referred_id)'
            )
        ) AS rules (name, kind, columns, addition)
    LOOP
        SELECT conname INTO found FROM pg_constraint
        WHERE conrelid = 'referrals'::regclass AND contype::text = wanted.kind AND wanted.columns = (
            SELECT array_agg(attname::text ORDER BY position)
            FROM unnest(conkey) WITH ORDINALITY AS keys (attnum, position)
            INNER JOIN pg_attribute ON pg_attribute.attrelid = conrelid AND pg_attribute.attnum = keys.attnum
        );
        IF found IS NULL THEN
            EXECUTE 'ALTER TABLE referrals ' || format(wanted.addition, wanted.name);
        ELSIF found <> wanted.name THEN
            EXECUTE format('ALTER TABLE referrals RENAME CONSTRAINT %I TO %I', found, wanted.name);
        END IF;
    END LOOP;
    IF NOT EXISTS (
        SELECT FROM pg_constraint
        WHERE conrelid = 'referrals'::regclass AND conname = 'referrals_of_somebody_else'
    ) THEN
        ALTER TABLE referrals ADD CONSTRAINT referrals_of_somebody_else
        CHECK (referrer_id <> referred_id OR void_reason IS NOT NULL);
    END IF;
END
$$;

CREATE UNIQUE INDEX IF NOT EXISTS referrals_one_referrer ON referrals (referred_id) WHERE void_reason IS NULL;
CREATE INDEX IF NOT EXISTS referrals_referrer_idx ON referrals (referrer_id, created_at DESC, id DESC);
CREATE INDEX IF NOT EXISTS referrals_referred_idx ON referrals (referred_id);
CREATE INDEX IF NOT EXISTS referrals_recent_idx ON referrals (created_at);
CREATE INDEX IF NOT EXISTS referrals_unrewarded_idx ON referrals (id)
WHERE rewarded_at IS NULL AND void_reason IS NULL;
CREATE INDEX IF NOT EXISTS referrals_untold_idx ON referrals (tell_at) WHERE tell_at IS NOT NULL;

-- Who is here already has started, and nothing is known to have followed: '' for them without a rewrite, and NULL
-- for those who come, until they start.
ALTER TABLE users ADD COLUMN IF NOT EXISTS started_with text DEFAULT '';
-- squawk-ignore ban-drop-default
ALTER TABLE users ALTER COLUMN started_with DROP DEFAULT;
ALTER TABLE users ADD COLUMN IF NOT EXISTS started_at timestamptz;

-- Those who came by somebody's link, in the order in which they came.
CREATE INDEX IF NOT EXISTS users_brought_idx ON users (started_at, user_id)
WHERE starts_with(started_with, 'ref_');

COMMENT ON TABLE referrals IS 'Who brought whom; one referrer for each person.';
COMMENT ON COLUMN referrals.id IS 'Number of the row.';
COMMENT ON COLUMN referrals.referrer_id IS 'Who brought.';
COMMENT ON COLUMN referrals.referred_id IS 'Who was brought.';
COMMENT ON COLUMN referrals.reward_rub IS 'What the referrer got for it.';
COMMENT ON COLUMN referrals.created_at IS 'When he was brought.';
COMMENT ON COLUMN referrals.rewarded_at IS 'When the reward was decided; NULL: not yet.';
COMMENT ON COLUMN referrals.tell_at IS 'When to tell the referrer of it next; NULL: he is not to be told, or knows.';
COMMENT ON COLUMN referrals.void_reason IS 'Why an adopted row counts for nothing; NULL for one that counts.';
COMMENT ON COLUMN users.started_with IS 'What followed the first /start, empty for nothing; NULL: has not started.';
COMMENT ON COLUMN users.started_at IS 'When the first /start came; NULL before it, and for who was here already.';

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0009_referrals'::text, 'UTF8')), 'hex'), '0009_referrals'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:54ebcf0a5b725ed8fec5a28e187189513005c392c073a4056be3768d15bb1dab'::text,
    applied_at_utc
FROM marked;

-- migrations/0010_admin_log.sql

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

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0010_admin_log'::text, 'UTF8')), 'hex'), '0010_admin_log'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:e99ed0272f55adde2174a9be64a3e54a4d83a937848fe8611b0aba5e57e2ffcb'::text,
    applied_at_utc
FROM marked;

-- migrations/0011_broadcasts.sql

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

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0011_broadcasts'::text, 'UTF8')), 'hex'), '0011_broadcasts'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:ef833fa2efcc99d2dc8beb1d937192391619f338fb69847cbf14ceac4d8c987d'::text,
    applied_at_utc
FROM marked;

-- migrations/0012_tail.sql

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

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0012_tail'::text, 'UTF8')), 'hex'), '0012_tail'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:c29f63fdf0c3c51c40ca4e791f167ad0433c40b206e8673ff1131e0e48e304ad'::text,
    applied_at_utc
FROM marked;

-- migrations/0013_erasure.sql

-- Erasing a person: his money stays on the books under an id that is nobody's, and that he was erased is remembered.
-- depends: 0012_tail 0011_broadcasts

CREATE TABLE IF NOT EXISTS erased_people (
    tombstone bytea NOT NULL,
    erased_at timestamptz NOT NULL,
    CONSTRAINT erased_people_pkey PRIMARY KEY (tombstone)
);

-- What moved, when and why can never change. Whose it was may be given up for an id from 2^52 + 2^51 up, which is
-- nobody's, and with it the numbers in words that name him.
CREATE OR REPLACE FUNCTION refuse_change_but_of_whom() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    named text[] := ARRAY['user_id', 'effect_key', 'reason'];
BEGIN
    IF (to_jsonb(new) - named) IS DISTINCT FROM (to_jsonb(old) - named)
        OR (new.user_id <> old.user_id AND new.user_id < 6755399441055744)
        OR regexp_replace(new.effect_key, '[0-9]+', '', 'g') <> regexp_replace(old.effect_key, '[0-9]+', '', 'g')
        OR regexp_replace(new.reason, '[0-9]+', '', 'g') <> regexp_replace(old.reason, '[0-9]+', '', 'g')
        OR (new.user_id, new.effect_key, new.reason) IS NOT DISTINCT FROM (old.user_id, old.effect_key, old.reason)
    THEN
        RAISE EXCEPTION '% is append-only', tg_table_name
            USING ERRCODE = 'integrity_constraint_violation', HINT = 'Book the opposite instead.';
    END IF;
    RETURN new;
END
$$;

CREATE OR REPLACE TRIGGER payment_transactions_append_only BEFORE DELETE OR TRUNCATE
ON payment_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE OR REPLACE TRIGGER payment_transactions_keep_all_but_whose BEFORE UPDATE
ON payment_transactions FOR EACH ROW EXECUTE FUNCTION refuse_change_but_of_whom();

COMMENT ON TABLE erased_people IS 'That somebody was erased, and when; who he was it does not tell.';
COMMENT ON COLUMN erased_people.tombstone IS 'HMAC-SHA256 of his id under the bot''s token, which no database holds.';
COMMENT ON COLUMN erased_people.erased_at IS 'When he was erased last.';
COMMENT ON FUNCTION refuse_change_but_of_whom() IS 'Keeps a ledger append-only, but for giving up whose a row was.';

WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to('0013_erasure'::text, 'UTF8')), 'hex'), '0013_erasure'::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    'sha256:2a7ad9f57e3acdd2c617db06431bf3709fec4344189ff702785b6af73758f67b'::text,
    applied_at_utc
FROM marked;

COMMIT;
