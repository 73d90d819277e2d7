-- Ops: what the database tells operators about itself, from its catalogs and statistics.
-- Owns:
-- Reads:

-- name: describe_server() :one
-- What the server is, and how many connections it has for people who are no superuser.
SELECT
    current_setting('server_version') AS version,
    current_setting('max_connections')::integer
    - current_setting('superuser_reserved_connections')::integer
    - coalesce(current_setting('reserved_connections', TRUE)::integer, 0) AS connections_for_all,
    EXISTS(SELECT FROM pg_catalog.pg_extension WHERE extname = 'pg_trgm') AS has_trigrams;

-- name: measure_relations(relations) :many
-- Of the named relations, those that are there: what they are, about how many rows, and bytes with indexes.
SELECT
    wanted.name AS relation,
    CASE class.relkind
        WHEN 'r' THEN 'table'
        WHEN 'p' THEN 'partitioned table'
        WHEN 'v' THEN 'view'
        WHEN 'm' THEN 'materialized view'
        ELSE 'foreign table'
    END AS kind,
    CASE
        WHEN class.reltuples >= 0 THEN class.reltuples::bigint
        ELSE coalesce(pg_stat_get_live_tuples(class.oid), 0)
    END AS rows_estimate,
    coalesce(pg_total_relation_size(class.oid), 0) AS size_bytes
FROM unnest($1::text[]) AS wanted (name)
INNER JOIN pg_catalog.pg_class AS class
    ON class.oid = to_regclass(quote_ident(wanted.name)) AND class.relkind IN ('r', 'p', 'v', 'm', 'f');

-- name: list_foreign_keys() :many
-- Every foreign key of the tables that search_path finds; one NOT VALID was never held against the older rows.
SELECT
    class.relname::text AS relation,
    foreign_key.conname::text AS name,
    pg_get_constraintdef(foreign_key.oid) AS definition,
    foreign_key.convalidated AS is_valid
FROM pg_catalog.pg_constraint AS foreign_key
INNER JOIN pg_catalog.pg_class AS class ON foreign_key.conrelid = class.oid
WHERE foreign_key.contype = 'f' AND pg_table_is_visible(class.oid)
ORDER BY class.relname, foreign_key.conname;

-- name: list_indexes() :many
-- Every index of the tables that search_path finds; an invalid one costs its upkeep and answers nothing.
SELECT
    class.relname::text AS relation,
    index_class.relname::text AS name,
    entry.indisvalid AS is_valid
FROM pg_catalog.pg_index AS entry
INNER JOIN pg_catalog.pg_class AS class ON entry.indrelid = class.oid
INNER JOIN pg_catalog.pg_class AS index_class ON entry.indexrelid = index_class.oid
INNER JOIN pg_catalog.pg_namespace AS namespace ON class.relnamespace = namespace.oid
WHERE
    class.relkind IN ('r', 'p', 'm') AND pg_table_is_visible(class.oid)
    AND namespace.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY class.relname, index_class.relname;

-- name: list_table_sizes() :many
-- Every table of ours, the largest first, with the rows that vacuum has still to clear away.
SELECT
    relname::text AS relation,
    n_live_tup AS live_rows,
    n_dead_tup AS dead_rows,
    pg_table_size(relid) AS table_bytes,
    pg_indexes_size(relid) AS index_bytes,
    greatest(last_vacuum, last_autovacuum) AS vacuumed_at
FROM pg_catalog.pg_stat_user_tables
ORDER BY pg_total_relation_size(relid) DESC, relname ASC;

-- name: count_connections() :many
-- The connections to this database by state, and for how long the oldest of each has been in it.
SELECT
    coalesce(state, 'unknown') AS state,
    count(*) AS connections,
    coalesce(extract(EPOCH FROM max(clock_timestamp() - state_change)), 0)::float8 AS longest_s
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
GROUP BY coalesce(state, 'unknown')
ORDER BY count(*) DESC, coalesce(state, 'unknown') ASC;

-- name: compose_slow_statements(page) :value
-- Writes the query for the slowest statements, by our names for them, or nothing without pg_stat_statements.
-- Created but not loaded it refuses to be read, and its settings are there only where it is loaded.
SELECT
    format(
        'SELECT coalesce(substring(query FROM %L), left(query, 60)), calls, mean_exec_time, max_exec_time,'
        ' total_exec_time, rows FROM %s'
        ' WHERE dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())'
        ' ORDER BY mean_exec_time DESC LIMIT %s',
        '^/\* (\w+\.\w+) \*/', to_regclass('pg_stat_statements'), $1::integer
    )
WHERE to_regclass('pg_stat_statements') IS NOT NULL AND current_setting('pg_stat_statements.max', TRUE) IS NOT NULL;

-- name: compose_person_export(user_id) :value
-- Writes the query for all rows about a person: by every foreign key to users, and every column named user_id.
WITH told AS (
    SELECT
        attribute.attrelid,
        format('told.%I = $id$%s$id$::%s', attribute.attname, $1::bigint, attribute.atttypid::regtype) AS condition
    FROM pg_catalog.pg_attribute AS attribute
    INNER JOIN pg_catalog.pg_type AS type ON attribute.atttypid = type.oid AND type.typcategory IN ('N', 'S')
    WHERE
        attribute.attname = 'user_id'
        OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS foreign_key
            WHERE
                foreign_key.contype = 'f'
                AND foreign_key.confrelid = to_regclass('users')
                AND foreign_key.conrelid = attribute.attrelid
                AND foreign_key.conkey[1] = attribute.attnum
        )
),

selected AS (
    SELECT
        class.relname,
        format(
            'SELECT %L, (SELECT coalesce(json_agg(told), $none$[]$none$) FROM %s AS told WHERE %s)::text',
            class.relname, class.oid::regclass, string_agg(told.condition, ' OR ' ORDER BY told.condition)
        ) AS query
    FROM told
    INNER JOIN pg_catalog.pg_class AS class ON told.attrelid = class.oid
    INNER JOIN pg_catalog.pg_namespace AS namespace ON class.relnamespace = namespace.oid
    WHERE
        class.relkind IN ('r', 'p') AND NOT class.relispartition
        AND namespace.nspname NOT IN ('pg_catalog', 'information_schema')
    GROUP BY class.oid, class.relname
)

SELECT string_agg(query, ' UNION ALL ' ORDER BY relname) FROM selected;

-- name: oldest_transaction_s() :value
-- For how many seconds the oldest transaction in this database has been open, but for this one.
SELECT coalesce(extract(EPOCH FROM max(clock_timestamp() - xact_start)), 0)::float8 AS oldest_s
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid();

-- name: count_dead_rows(relations) :many
-- Of the named tables, the rows that vacuum has still to clear away.
SELECT wanted.name AS relation, statistics.n_dead_tup AS dead_rows
FROM unnest($1::text[]) AS wanted (name)
INNER JOIN pg_catalog.pg_stat_user_tables AS statistics ON statistics.relid = to_regclass(quote_ident(wanted.name));
