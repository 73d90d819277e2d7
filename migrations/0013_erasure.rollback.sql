-- Undoes 0013_erasure. Who was erased stays erased; that he was is forgotten.

DROP TRIGGER payment_transactions_keep_all_but_whose ON payment_transactions;
DROP FUNCTION refuse_change_but_of_whom();
CREATE OR REPLACE TRIGGER payment_transactions_append_only BEFORE UPDATE OR DELETE OR TRUNCATE
ON payment_transactions FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
DROP TABLE erased_people;
