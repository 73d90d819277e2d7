-- Undoes 0011_broadcasts. What was sent to whom is forgotten, and what is under way ends.

DROP TABLE broadcast_recipients;
DROP TABLE broadcasts;
