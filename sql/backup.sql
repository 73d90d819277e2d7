-- Backup: what a database holds, told by its own catalog, so that a restored one can be held against it.
-- Owns:
-- Reads:

-- name: try_to_be_alone() :value
-- Whether nobody else takes a backup; until the transaction ends nobody will.
SELECT pg_try_advisory_xact_lock(hashtextextended('ballast backup', 0));

-- name: take_time() :value
-- Until the transaction ends: no limit to a statement or to a pause, and values written alike by every server.
SELECT
    set_config('statement_timeout', '0', TRUE) || set_config('idle_in_transaction_session_timeout', '0', TRUE)
    || set_config('timezone', 'UTC', TRUE) || set_config('datestyle', 'ISO, YMD', TRUE)
    || set_config('intervalstyle', 'iso_8601', TRUE) || set_config('bytea_output', 'hex', TRUE)
    || set_config('extra_float_digits', '1', TRUE) || set_config('lc_monetary', 'C', TRUE) AS settings;

-- name: export_snapshot() :value
-- The name under which another session sees what this transaction sees.
SELECT pg_export_snapshot();

-- name: describe_origin() :one
-- The server, and what a dump of one database does not bring along: roles, and extensions as programs.
SELECT
    current_setting('server_version') AS version,
    current_setting('server_version_num')::integer / 10000 AS major,
    ARRAY(SELECT extname::text FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY extname) AS extensions,
    ARRAY(
        SELECT DISTINCT pg_get_userbyid(relowner)::text AS owner
        FROM pg_catalog.pg_class
        WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
            AND relkind IN ('r', 'p', 'v', 'm', 'S')
        ORDER BY owner
    ) AS roles;

-- name: list_relations() :many
-- Every relation that holds rows or shows them, but for those of extensions, with its own number.
SELECT
    format('%I.%I', namespace.nspname, class.relname) AS relation,
    class.relname::text AS name,
    class.relkind IN ('r', 'p') AS is_table,
    class.oid::bigint AS number
FROM pg_catalog.pg_class AS class
INNER JOIN pg_catalog.pg_namespace AS namespace ON class.relnamespace = namespace.oid
WHERE
    class.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT class.relispartition
    AND namespace.nspname NOT IN ('pg_catalog', 'information_schema') AND namespace.nspname NOT LIKE 'pg\_%'
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS dependency
        WHERE
            dependency.classid = 'pg_class'::regclass AND dependency.objid = class.oid AND dependency.deptype = 'e'
    )
ORDER BY relation;

-- name: compose_census(relations) :value
-- Writes the query that counts each table, adds up its amounts, and sums what its rows read like.
WITH amounts AS (
    SELECT
        attrelid,
        string_agg(format('%L, sum(%I)::text', attname, attname), ', ' ORDER BY attname) AS sums
    FROM pg_catalog.pg_attribute
    WHERE atttypid = 'numeric'::regtype AND attnum > 0 AND NOT attisdropped
    GROUP BY attrelid
)

SELECT
    string_agg(
        format(
            'SELECT %L, count(*), coalesce(sum(($x$x$x$ || left(md5(the_row::text), 15))::bit(60)::bigint), 0)::text,'
            ' jsonb_build_object(%s)::text FROM %s AS the_row',
            wanted.relation, amounts.sums, wanted.relation
        ),
        ' UNION ALL ' ORDER BY wanted.relation
    )
FROM unnest($1::text[]) AS wanted (relation)
LEFT JOIN amounts ON amounts.attrelid = wanted.relation::regclass
WHERE to_regclass(wanted.relation) IS NOT NULL;

-- name: list_numbered() :many
-- Columns in which the number of a table may stand; another database gives its tables other numbers.
SELECT attribute.attrelid::regclass::text AS relation, attribute.attname::text AS name
FROM pg_catalog.pg_attribute AS attribute
INNER JOIN pg_catalog.pg_class AS class ON attribute.attrelid = class.oid AND class.relkind = 'r'
WHERE
    attribute.atttypid = 'oid'::regtype AND attribute.attnum > 0 AND NOT attribute.attisdropped
    AND class.relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
ORDER BY relation, name;

-- name: compose_renumbering(relation, name, relations, numbers) :value
-- Writes the statement that puts the numbers of this database's tables in the place of those they had.
SELECT
    format(
        'UPDATE %s AS told SET %I = renumbered.number FROM (VALUES %s) AS renumbered (old, number)'
        ' WHERE told.%I = renumbered.old AND renumbered.old <> renumbered.number',
        $1::text, $2::text,
        string_agg(format('(%s::oid, %s::oid)', had.number, to_regclass(had.relation)::oid), ', '), $2::text
    )
FROM unnest($3::text[], $4::bigint[]) AS had (relation, number)
WHERE to_regclass(had.relation) IS NOT NULL;
