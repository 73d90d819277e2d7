-- Undoes 0004_payments. What was paid is never dropped: the rollback refuses while there is any of it.

DO $$
BEGIN
    IF EXISTS (SELECT FROM payments) OR EXISTS (SELECT FROM payment_events) THEN
        RAISE EXCEPTION 'there are payments or events of processors'
            USING HINT = 'Money is not rolled back; move forward with another migration.';
    END IF;
END
$$;

DROP TABLE payment_refunds;
DROP TABLE payment_events;
DROP TABLE payment_references;
DROP TABLE payments;
