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

-- name: compose_generic_plan(query) :value
-- Writes the EXPLAIN of a query without values; nothing where the server is older than that (16).
SELECT 'EXPLAIN (GENERIC_PLAN) ' || $1::text
WHERE current_setting('server_version_num')::integer >= 160000;

-- name: compose_forget() :value
-- Writes the statement that undoes compose_prepare, which outlives its transaction.
SELECT 'DEALLOCATE explained';
