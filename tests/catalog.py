"""A database's schema as a set of lines, so that two can be compared and the difference read."""

from __future__ import annotations

import psycopg

# One line per object. Columns carry no position: an adopted table has them in another order.
QUERIES = (
    """
    SELECT format('table %s -- %s', c.oid::regclass, obj_description(c.oid, 'pg_class'))
    FROM pg_class c WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace = 'public'::regnamespace
    """,
    """
    SELECT format('column %s.%s %s%s default %s -- %s', c.oid::regclass, a.attname,
        format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN ' not null' END,
        coalesce(pg_get_expr(d.adbin, d.adrelid), 'none'), col_description(c.oid, a.attnum))
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace
    """,
    """
    SELECT format('constraint %s.%s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    """,
    """
    SELECT format('index %s %s', CASE WHEN i.indisvalid THEN 'valid' ELSE 'INVALID' END, pg_get_indexdef(i.indexrelid))
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'public'::regnamespace
    """,
    "SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal",
    """
    SELECT format('function %s -- %s', pg_get_functiondef(p.oid), obj_description(p.oid, 'pg_proc'))
    FROM pg_proc p
    WHERE p.pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
    """,
)


def schema(dsn: str) -> set[str]:
    with psycopg.connect(dsn) as connection:
        return {line for query in QUERIES for (line,) in connection.execute(query)}
