-- Undoes 0005_idempotency_keys. What is lost is the memory of operators' writes, which expires in a day anyway.

DROP TABLE idempotency_keys;
