-- Undoes 0007_generation_events on an empty table only: it may have been adopted, and then its rows were there before
-- us. To leave Ballast with rows in place, keep the table.

DO $$
BEGIN
    IF EXISTS (SELECT FROM generation_events) THEN
        RAISE EXCEPTION 'generation_events has rows, and a rollback never drops rows'
            USING HINT = 'Back the table up and empty it first, or keep it.';
    END IF;
END
$$;

DROP TABLE generation_events;
