-- Erasure: what is done to every table that has something of a person, and that he was erased.
-- Owns: erased_people
-- Reads: payments, payment_events

-- name: is_money_under_way(user_id, number) :value
-- Whether something that a processor said of his payments still waits to be applied, or to be looked at.
SELECT EXISTS(
    SELECT FROM payment_events
    WHERE
        status IN ('waiting', 'review')
        AND (
            payment_id IN (SELECT payments.payment_id FROM payments WHERE payments.user_id = $1)
            OR encode(body, 'escape') ~ $2
        )
) AS is_under_way;

-- name: when_erased(tombstone) :value
-- When he was erased last.
SELECT erased_at FROM erased_people
WHERE tombstone = $1;

-- name: bury(tombstone, now) :exec
-- Remember that he was.
INSERT INTO erased_people (tombstone, erased_at) VALUES ($1, $2)
ON CONFLICT (tombstone) DO UPDATE SET erased_at = excluded.erased_at;

-- name: list_personal_tables() :many
-- Every table that has a person in it: a foreign key to users, or a column named user_id.
SELECT DISTINCT class.relname::text AS relation
FROM pg_catalog.pg_attribute AS attribute
INNER JOIN pg_catalog.pg_class AS class ON attribute.attrelid = class.oid
INNER JOIN pg_catalog.pg_namespace AS namespace ON class.relnamespace = namespace.oid
LEFT JOIN pg_catalog.pg_constraint AS foreign_key
    ON
        foreign_key.conrelid = class.oid
        AND foreign_key.contype = 'f'
        AND foreign_key.confrelid = to_regclass('users')
        AND foreign_key.conkey[1] = attribute.attnum
WHERE
    class.relkind IN ('r', 'p') AND NOT class.relispartition AND NOT attribute.attisdropped
    AND namespace.nspname NOT IN ('pg_catalog', 'information_schema') AND pg_table_is_visible(class.oid)
    AND (attribute.attname = 'user_id' OR foreign_key.oid IS NOT NULL)
ORDER BY relation;

-- name: his_rows(relation, user_id, mentions, refer, referred, referred_by) :value
-- The condition by which a table's rows are his; nothing where there is no such table.
-- By user_id and foreign keys to users; by his id standing in these columns; by columns that refer to a row of his.
WITH attributes AS (
    SELECT
        attribute.attname, attribute.atttypid = 'bytea'::regtype AS is_bytes, referred.place,
        attribute.attname = any($3::text[]) AS mentions,
        attribute.attname = 'user_id' OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS foreign_key
            WHERE
                foreign_key.contype = 'f' AND foreign_key.confrelid = to_regclass('users')
                AND foreign_key.conrelid = attribute.attrelid AND foreign_key.conkey[1] = attribute.attnum
        ) AS is_whose
    FROM pg_catalog.pg_attribute AS attribute
    LEFT JOIN unnest($4::text[]) WITH ORDINALITY AS referred (name, place) ON attribute.attname = referred.name
    WHERE
        attribute.attrelid = to_regclass(quote_ident($1::text))
        AND attribute.attnum > 0 AND NOT attribute.attisdropped
)

SELECT
    string_agg(CASE
        WHEN is_whose THEN format('told.%I = %L', attname, $2::bigint)
        WHEN mentions AND is_bytes
            THEN format('encode(told.%I, %L) ~ %L', attname, 'escape', format('(?<![0-9])%s(?![0-9])', $2::bigint))
        WHEN mentions THEN format('told.%I ~ %L', attname, format('(?<![0-9])%s(?![0-9])', $2::bigint))
        ELSE format(
            'told.%I IN (SELECT his.%I FROM %I AS his WHERE his.user_id = %L)',
            attname, ($6::text[])[place], ($5::text[])[place], $2::bigint
        )
    END, ' OR ' ORDER BY attname) AS condition
FROM attributes
WHERE is_whose OR mentions OR place IS NOT NULL;

-- name: compose_removal(relation, his_rows) :value
-- Writes the statement that removes them.
SELECT format(
    'WITH gone AS (DELETE FROM %I AS told WHERE %s RETURNING 1) SELECT count(*) FROM gone', $1::text, $2::text
);

-- name: compose_keeping(relation, user_id, stand_in, his_rows, blanked, blanks, names_him) :value
-- Writes the statement that keeps them for the id that stands in his place, with these columns blanked.
-- Where columns name him, as a number within a word, they name the other one from then on, in others' rows as well.
WITH attributes AS (
    SELECT
        attribute.attname, format_type(attribute.atttypid, attribute.atttypmod) AS type,
        array_position($5::text[], attribute.attname::text) AS place, attribute.attname = any($7::text[]) AS names_him,
        attribute.attname = 'user_id' OR EXISTS (
            SELECT FROM pg_catalog.pg_constraint AS foreign_key
            WHERE
                foreign_key.contype = 'f' AND foreign_key.confrelid = to_regclass('users')
                AND foreign_key.conrelid = attribute.attrelid AND foreign_key.conkey[1] = attribute.attnum
        ) AS is_whose,
        format('(?<![0-9])%s(?![0-9])', $2::bigint) AS number
    FROM pg_catalog.pg_attribute AS attribute
    WHERE
        attribute.attrelid = to_regclass(quote_ident($1::text))
        AND attribute.attnum > 0 AND NOT attribute.attisdropped
)

SELECT
    format(
        'WITH kept AS (UPDATE %I AS told SET %s WHERE %s%s RETURNING 1) SELECT count(*) FROM kept',
        $1::text,
        string_agg(CASE
            WHEN is_whose
                THEN format('%1$I = CASE told.%1$I WHEN %2$L THEN %3$L ELSE told.%1$I END', attname, $2, $3::bigint)
            WHEN names_him THEN format('%1$I = regexp_replace(told.%1$I, %2$L, %3$L, %4$L)', attname, number, $3, 'g')
            ELSE format(
                '%1$I = CASE WHEN %2$s THEN %3$L::%4$s ELSE told.%1$I END', attname, $4::text, ($6::text[])[place], type
            )
        END, ', ' ORDER BY attname),
        $4::text,
        string_agg(format(' OR told.%I ~ %L', attname, number), '') FILTER (WHERE names_him)
    )
FROM attributes
WHERE is_whose OR names_him OR place IS NOT NULL;
