-- Undoes 0010_admin_log. What operators did is forgotten.

DROP TABLE admin_log;
