-- Undoes 0008_projects on empty tables only: they are what people chose to keep, and may have been adopted.

DO $$
BEGIN
    IF EXISTS (SELECT FROM projects) OR EXISTS (SELECT FROM project_history) THEN
        RAISE EXCEPTION 'there are projects, and a rollback never drops rows'
            USING HINT = 'Back the tables up and empty them first, or keep them.';
    END IF;
END
$$;

DROP TABLE project_history;
DROP TABLE projects;
