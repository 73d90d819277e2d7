-- Undoes 0012_tail. What is lost is the last day of a tail that is kept for a day anyway.

DROP TABLE tail_events;
