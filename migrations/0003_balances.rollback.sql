-- Undoes 0003_balances. Money is never dropped: the rollback refuses while anybody has any, and adopted columns
-- keep their wider types.

DO $$
BEGIN
    IF EXISTS (SELECT FROM balances) OR EXISTS (SELECT FROM payment_transactions) THEN
        RAISE EXCEPTION 'there are balances or ledger entries'
            USING HINT = 'Money is not rolled back; move forward with another migration.';
    END IF;
END
$$;

DROP TABLE payment_reservations;
DROP TABLE payment_effects;
DROP TABLE payment_transactions;
DROP TABLE balances;
DROP FUNCTION refuse_change();
