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
