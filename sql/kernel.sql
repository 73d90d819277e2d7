-- Kernel: what the seam itself asks of the database.
-- Owns:
-- Reads:

-- name: ping() :value
-- Is anybody there?
SELECT 1;

-- name: probe_relations(relations) :many
-- Of the named relations, those that can be seen through search_path, with their columns and our privileges.
SELECT
    wanted.name AS relation,
    array_agg(attribute.attname::text) AS columns,
    ARRAY(
        SELECT privilege.name
        FROM unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) AS privilege (name)
        WHERE has_table_privilege(class.oid, privilege.name)
    ) AS privileges
FROM unnest($1::text[]) AS wanted (name)
INNER JOIN pg_catalog.pg_class AS class
    ON class.oid = to_regclass(quote_ident(wanted.name)) AND class.relkind IN ('r', 'p', 'v', 'm', 'f')
INNER JOIN pg_catalog.pg_attribute AS attribute
    ON attribute.attrelid = class.oid AND attribute.attnum > 0 AND NOT attribute.attisdropped
GROUP BY wanted.name, class.oid;

-- name: compose_prepare(query) :value
-- Writes the statement that prepares a named query for EXPLAIN.
SELECT 'PREPARE explained AS ' || $1::text;

-- name: compose_explain(arguments) :value
-- Writes the EXPLAIN of the prepared query. Each argument is a quoted literal, read by its parameter's own type.
SELECT format(
    'EXPLAIN (ANALYZE, BUFFERS) EXECUTE explained%s',
    (
        SELECT '(' || string_agg(quote_nullable(argument.value), ', ' ORDER BY argument.position) || ')'
        FROM unnest($1::text[]) WITH ORDINALITY AS argument (value, position)
    )
);

-- name: force_generic_plan() :value
-- Plan without looking at values, until the transaction ends.
SELECT set_config('plan_cache_mode', 'force_generic_plan', TRUE);

-- name: compose_generic_plan(parameters) :value
-- Writes the EXPLAIN of the prepared query, with NULLs for so many parameters; it runs nothing.
SELECT format('EXPLAIN EXECUTE explained(%s)', rtrim(repeat('NULL, ', $1::integer), ', '));

-- name: compose_forget() :value
-- Writes the statement that undoes compose_prepare, which outlives its transaction.
SELECT 'DEALLOCATE explained';

-- name: compose_create_database(name) :value
-- Writes the statement that creates a database; nothing where it is there.
SELECT format('CREATE DATABASE %I', $1::text)
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1);

-- name: compose_drop_database(name) :value
-- Writes the statement that drops a database, whoever is connected to it; nothing where it is not there.
SELECT format('DROP DATABASE %I WITH (FORCE)', datname)
FROM pg_catalog.pg_database
WHERE datname = $1;
