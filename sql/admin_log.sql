-- Admin log: what operators did.
-- Owns: admin_log
-- Reads:

-- name: note_deed(at, who, what, subject, details) :exec
-- Somebody did something.
INSERT INTO admin_log (at, who, what, subject, details)
VALUES ($1, $2, $3, $4, $5::text::jsonb);

-- name: list_deeds(before_at, before_id, page) :many
-- What was done, the last first, after the last one of the previous page.
SELECT id, at, who, what, subject, details
FROM admin_log
WHERE (at, id) < ($1, $2)
ORDER BY at DESC, id DESC
LIMIT $3;
