-- Undoes 0002_updates. Both tables are our own. What is lost is the memory of past updates, which Telegram does
-- not send again after a day, and failed updates that wait for an operator: those refuse the rollback.

DO $$
BEGIN
    IF EXISTS (SELECT FROM failed_updates WHERE parked_at IS NOT NULL AND replayed_at IS NULL) THEN
        RAISE EXCEPTION 'failed_updates holds updates that wait for an operator'
            USING HINT = 'Replay them or delete them first.';
    END IF;
END
$$;

DROP TABLE failed_updates;
DROP TABLE processed_updates;
