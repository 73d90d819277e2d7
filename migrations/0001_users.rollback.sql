-- Undoes 0001_users on an empty table only. The table may have been adopted: its rows were there before us, and
-- nothing tells which columns were. So rows are never dropped here, and neither is a table that others refer to
-- (DROP without CASCADE). To leave Ballast with rows in place, keep the table: all that was added is harmless
-- to the bot that owned it. pg_trgm stays, for other tables may use it.

DO $$
BEGIN
    IF EXISTS (SELECT FROM users) THEN
        RAISE EXCEPTION 'users has rows, and a rollback never drops rows'
            USING HINT = 'Back the table up and empty it first, or keep it.';
    END IF;
END
$$;

DROP TABLE users;
DROP FUNCTION notify_users_changed();
DROP FUNCTION set_updated_at();
