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
