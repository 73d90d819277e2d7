-- Projects: where people keep what was made for them.
-- Owns: projects, project_history
-- Reads: generation_jobs
--
-- Whose a project is, is asked in each statement: the numbers in a button may be forged.

-- name: lock_person(user_id) :value
-- One new project of a person at a time, so that the count of what he has is exact.
SELECT pg_advisory_xact_lock(hashtextextended('projects', $1::bigint)) IS NOT NULL AS is_locked;

-- name: create_project(user_id, name, most) :value
-- Begin a project, unless this person has that many already; its number. After lock_person.
INSERT INTO projects (user_id, name)
SELECT $1, $2
WHERE (SELECT count(*) FROM projects AS theirs WHERE theirs.user_id = $1) < $3::bigint
RETURNING id;

-- name: find_project(user_id, name) :value
-- This person's project of that name, the one that changed last where there are several.
SELECT id FROM projects
WHERE user_id = $1 AND name = $2
ORDER BY updated_at DESC, id DESC
LIMIT 1;

-- name: rename_project(project_id, user_id, name) :exec
-- Call this person's project so.
UPDATE projects
SET name = $3
WHERE id = $1 AND user_id = $2;

-- name: delete_project(project_id, user_id) :value
-- Delete this person's project with everything in it; its name.
DELETE FROM projects
WHERE id = $1 AND user_id = $2
RETURNING name;

-- name: list_projects(user_id, skip, page) :many
-- A person's projects, the one that changed last first, with how much is in each.
WITH theirs AS (  -- first the page: what is skipped need not be counted
    SELECT id, name, updated_at FROM projects
    WHERE user_id = $1
    ORDER BY updated_at DESC, id DESC
    LIMIT $3 OFFSET $2
)

SELECT
    id,
    name,
    (SELECT count(*) FROM project_history AS saved WHERE saved.project_id = theirs.id) AS results
FROM theirs
ORDER BY updated_at DESC, id DESC;

-- name: get_project(project_id, user_id) :one
-- This person's project, with how much is in it.
SELECT
    id,
    name,
    (SELECT count(*) FROM project_history AS saved WHERE saved.project_id = projects.id) AS results
FROM projects
WHERE id = $1 AND user_id = $2;

-- name: list_results(project_id, before_at, before_id, page) :many
-- What is in a project, newest first, after the last one of the previous page. After get_project.
SELECT id, model_id, left(inputs ->> 'prompt', 200) AS prompt, status, created_at
FROM project_history
WHERE project_id = $1 AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC
LIMIT $4;

-- name: get_result(result_id, user_id) :one
-- Something in a project of this person, whole.
SELECT saved.id, saved.model_id, left(saved.inputs ->> 'prompt', 200) AS prompt, saved.outputs
FROM project_history AS saved
INNER JOIN projects ON saved.project_id = projects.id
WHERE saved.id = $1 AND projects.user_id = $2;

-- name: remove_result(result_id, user_id) :value
-- Take a result out of this person's project, which changes the project; the project's name.
WITH gone AS (
    DELETE FROM project_history AS saved
    USING projects
    WHERE saved.id = $1 AND projects.id = saved.project_id AND projects.user_id = $2
    RETURNING saved.project_id
)

UPDATE projects
SET updated_at = now()
FROM gone
WHERE projects.id = gone.project_id
RETURNING projects.name;

-- name: get_made(job_id, user_id) :one
-- What was made for this person, and whether he has it: only then is it known what to keep.
SELECT model_id, delivered_at IS NOT NULL AS is_delivered
FROM generation_jobs
WHERE job_id = $1 AND user_id = $2 AND status = 'success';

-- name: save_result(job_id, project_id, user_id) :value
-- Keep what was made for this person in his project, once, which changes the project; the project's name.
WITH made AS (
    SELECT job_id, model_id, prompt, outputs, status
    FROM generation_jobs
    WHERE job_id = $1 AND user_id = $3 AND status = 'success' AND delivered_at IS NOT NULL
),

project AS (
    SELECT id, name FROM projects
    WHERE id = $2 AND user_id = $3
),

saved AS (
    INSERT INTO project_history (project_id, user_id, model_id, inputs, outputs, status, job_id)
    SELECT
        project.id, $3, made.model_id, jsonb_build_object('prompt', made.prompt), made.outputs, made.status,
        made.job_id
    FROM made
    CROSS JOIN project
    ON CONFLICT (project_id, job_id) DO NOTHING
    RETURNING project_id
),

changed AS (
    UPDATE projects
    SET updated_at = now()
    FROM saved
    WHERE projects.id = saved.project_id
)

SELECT project.name
FROM made
CROSS JOIN project;
