-- Migrate: what was applied, when and by whom, in yoyo's own tables (its schema version 2).
-- Owns: _yoyo_migration, _yoyo_log, _yoyo_version, yoyo_lock
-- Reads:

-- name: create_applied() :exec
-- The migrations that are applied now.
CREATE TABLE IF NOT EXISTS _yoyo_migration (
    migration_hash varchar(64),
    migration_id varchar(255),
    applied_at_utc timestamp,
    PRIMARY KEY (migration_hash)
);

-- name: create_log() :exec
-- All that was ever done; the comment carries the checksum of the applied file.
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

-- name: create_version() :exec
-- The version of these tables.
CREATE TABLE IF NOT EXISTS _yoyo_version (
    version integer NOT NULL PRIMARY KEY,
    installed_at_utc timestamp
);

-- name: create_lock() :exec
-- The row that keeps a bare yoyo out while we migrate.
CREATE TABLE IF NOT EXISTS yoyo_lock (
    locked integer DEFAULT 1,
    ctime timestamp,
    pid integer NOT NULL,
    PRIMARY KEY (locked)
);

-- name: set_version() :exec
-- Tell yoyo that its tables are up to date.
INSERT INTO _yoyo_version (version, installed_at_utc)
VALUES (2, now() AT TIME ZONE 'UTC')
ON CONFLICT (version) DO NOTHING;

-- name: is_prepared() :value
-- Are the tables there?
SELECT to_regclass('_yoyo_migration') IS NOT NULL AND to_regclass('_yoyo_log') IS NOT NULL AS prepared;

-- name: try_lock(key) :value
-- Become the one migrator, or learn that another one is at work; never waits.
SELECT pg_try_advisory_lock($1::bigint);

-- name: watch_client() :value
-- Let a statement end when its migrator is killed, and with it the lock, instead of running on for nobody.
SELECT set_config('client_connection_check_interval', '1s', FALSE);

-- name: set_lock_timeout(milliseconds) :value
-- How long a statement of this session may wait for a lock, with everybody queueing behind it.
SELECT set_config('lock_timeout', $1::text, FALSE);

-- name: list_applied() :many
-- The applied migrations, oldest first, each with its checksum (NULL where a bare yoyo applied it).
SELECT
    applied.migration_id,
    applied.applied_at_utc AT TIME ZONE 'UTC' AS applied_at,
    (
        SELECT log.comment
        FROM _yoyo_log AS log
        WHERE log.migration_hash = applied.migration_hash AND log.operation IN ('apply', 'mark')
        ORDER BY log.created_at_utc DESC
        LIMIT 1
    ) AS checksum
FROM _yoyo_migration AS applied
ORDER BY applied.applied_at_utc, applied.migration_id;

-- name: list_log() :many
-- What was done, oldest first.
SELECT
    created_at_utc AT TIME ZONE 'UTC' AS done_at,
    operation,
    migration_id,
    username,
    hostname
FROM _yoyo_log
ORDER BY created_at_utc, migration_id;

-- name: mark_applied(migration_id, checksum, hostname) :exec
-- A migration was applied, unless it had been; runs in its transaction.
WITH marked AS (
    INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)
    VALUES (encode(sha256(convert_to($1::text, 'UTF8')), 'hex'), $1::text, clock_timestamp() AT TIME ZONE 'UTC')
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
    left($3::text, 255),
    $2::text,
    applied_at_utc
FROM marked;

-- name: mark_undone(migration_id, hostname) :exec
-- A migration was rolled back; runs in its transaction.
WITH unmarked AS (
    DELETE FROM _yoyo_migration
    WHERE migration_id = $1::text
    RETURNING migration_hash, migration_id
)

INSERT INTO _yoyo_log (id, migration_hash, migration_id, operation, username, hostname, created_at_utc)
SELECT
    gen_random_uuid()::text,
    migration_hash,
    migration_id,
    'rollback',
    session_user,
    left($2::text, 255),
    clock_timestamp() AT TIME ZONE 'UTC'
FROM unmarked;

-- name: drop_invalid_indexes(names) :many
-- For each named index that a failed CREATE INDEX CONCURRENTLY left behind, the statement that drops it.
SELECT format('DROP INDEX CONCURRENTLY IF EXISTS %s', broken.indexrelid::regclass) AS statement
FROM pg_catalog.pg_index AS broken
INNER JOIN pg_catalog.pg_class AS class ON class.oid = broken.indexrelid
WHERE
    NOT broken.indisvalid
    AND class.relname = any($1::text[])
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_stat_progress_create_index AS building
        WHERE building.index_relid = broken.indexrelid
    );
