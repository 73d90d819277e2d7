-- Undoes 0009_referrals on an empty table only: it may have been adopted, and rewards were promised on it. What
-- followed people's first /start is forgotten.

DO $$
BEGIN
    IF EXISTS (SELECT FROM referrals) THEN
        RAISE EXCEPTION 'there are referrals, and a rollback never drops rows'
            USING HINT = 'Back the table up and empty it first, or keep it.';
    END IF;
END
$$;

DROP TABLE referrals;
-- squawk-ignore ban-drop-column
ALTER TABLE users DROP COLUMN started_with, DROP COLUMN started_at;
