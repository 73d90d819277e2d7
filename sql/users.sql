-- Users: everybody who has ever talked to the bot.
-- Owns: users
-- Reads:

-- name: ensure_users(user_ids, usernames, first_names, last_names, language_codes) :many
-- Make sure that these people exist and are known by their present names; NULL leaves what is known.
WITH given AS (
    SELECT DISTINCT ON (profile.user_id)
        profile.user_id, profile.username, profile.first_name, profile.last_name, profile.language_code
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
    WITH ORDINALITY AS profile (user_id, username, first_name, last_name, language_code, position)
    ORDER BY profile.user_id ASC, profile.position DESC
),

written AS (
    -- In the order of user_id, so that two instances with overlapping batches do not deadlock.
    INSERT INTO users AS known (user_id, username, first_name, last_name, language_code)
    SELECT given.user_id, given.username, given.first_name, given.last_name, given.language_code
    FROM given
    ORDER BY given.user_id
    ON CONFLICT (user_id) DO UPDATE
    SET
        username = coalesce(excluded.username, known.username),
        first_name = coalesce(excluded.first_name, known.first_name),
        last_name = coalesce(excluded.last_name, known.last_name),
        language_code = coalesce(excluded.language_code, known.language_code)
    WHERE
        coalesce(excluded.username, known.username) IS DISTINCT FROM known.username
        OR coalesce(excluded.first_name, known.first_name) IS DISTINCT FROM known.first_name
        OR coalesce(excluded.last_name, known.last_name) IS DISTINCT FROM known.last_name
        OR coalesce(excluded.language_code, known.language_code) IS DISTINCT FROM known.language_code
    RETURNING
        known.user_id, known.username, known.first_name, known.last_name, known.language_code, known.language,
        known.is_active, known.created_at, known.updated_at, (known.xmax = 0) AS created
)

SELECT
    user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at, created
FROM written
UNION ALL
-- Those who were known, and as they are. One inserted by somebody else since this statement began is in neither
-- part: the caller asks again.
SELECT
    known.user_id, known.username, known.first_name, known.last_name, known.language_code, known.language,
    known.is_active, known.created_at, known.updated_at, FALSE AS created
FROM users AS known
INNER JOIN given ON known.user_id = given.user_id
WHERE NOT EXISTS (SELECT FROM written WHERE written.user_id = known.user_id);

-- name: get_users(user_ids) :many
-- These people, those of them who exist.
SELECT user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at
FROM users
WHERE user_id = ANY($1::bigint[]);

-- name: get_languages(user_ids) :many
-- How to speak to these people.
SELECT user_id, language, language_code
FROM users
WHERE user_id = any($1::bigint[]);

-- name: choose_language(user_id, language) :one
-- Speak to this person in the language of his choice.
UPDATE users
SET language = $2
WHERE user_id = $1
RETURNING user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at;

-- name: note_start(user_id, started_with) :exec
-- What followed this person's first /start; touches no row that says so already.
UPDATE users
SET started_with = $2, started_at = now()
WHERE user_id = $1 AND started_with IS NULL;

-- name: mark_active(user_id, is_active) :exec
-- Whether the bot can write to this person; touches no row that says so already.
UPDATE users
SET is_active = $2
WHERE user_id = $1 AND is_active <> $2;

-- name: list_users(before_at, before_id, page) :many
-- People, newest first, after the last one of the previous page.
SELECT user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at
FROM users
WHERE (created_at, user_id) < ($1, $2)
ORDER BY created_at DESC, user_id DESC
LIMIT $3;

-- name: list_users_by_activity(is_active, before_at, before_id, page) :many
-- Active (or inactive) people, newest first, after the last one of the previous page.
SELECT user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at
FROM users
WHERE
    is_active = $1
    AND (created_at, user_id) < ($2, $3)
ORDER BY created_at DESC, user_id DESC
LIMIT $4;

-- name: list_recent_users(since, page) :many
-- People who came since then, newest first.
SELECT user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at
FROM users
WHERE created_at >= $1
ORDER BY created_at DESC, user_id DESC
LIMIT $2;

-- name: find_users_by_substring(pattern, is_active, after_name, after_id, page) :many
-- People whose username contains the term, by name; wants the trigram index.
WITH found AS MATERIALIZED (  -- else the planner may walk through all names in their order
    SELECT user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at
    FROM users
    WHERE username ILIKE $1
)

SELECT user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at
FROM found
WHERE
    ($2::boolean IS NULL OR is_active = $2)
    -- Names are compared as the prefix index has them, byte by byte, which the linter cannot read.
    AND lower(username) ~>=~ lower($3) -- noqa: PRS
    AND (lower(username) <> lower($3) OR user_id > $4)
ORDER BY lower(username) USING ~<~, user_id
LIMIT $5;

-- name: find_users_by_prefix(prefix, is_active, after_name, after_id, page) :many
-- People whose username begins with the term, by name; any database can do that from an index.
SELECT user_id, username, first_name, last_name, language_code, language, is_active, created_at, updated_at
FROM users
WHERE
    -- Not LIKE: of a pattern that is a parameter the planner does not see the prefix. The last character there is
    -- ends the range.
    lower(username) ~>=~ $1 -- noqa: PRS
    AND lower(username) ~<~ ($1 || chr(1114111))
    AND ($2::boolean IS NULL OR is_active = $2)
    AND lower(username) ~>=~ lower($3)
    AND (lower(username) <> lower($3) OR user_id > $4)
ORDER BY lower(username) USING ~<~, user_id
LIMIT $5;

-- name: has_trigram_index() :value
-- Whether the index that a search inside usernames needs is there and valid.
SELECT EXISTS(
    SELECT FROM pg_catalog.pg_index
    WHERE indexrelid = to_regclass('users_username_trigram_idx') AND indisvalid
);

-- name: count_users(is_active) :value
-- How many there are; all of them for NULL.
SELECT count(*) FROM users
WHERE $1::boolean IS NULL OR is_active = $1;

-- name: stand_in(user_id, stand_in) :exec
-- Somebody who is nobody, in the place of a person who is to be erased; touches nothing where there is no such person.
INSERT INTO users (user_id, is_active, created_at)
SELECT $2, FALSE, created_at
FROM users
WHERE user_id = $1;

-- name: name_stand_in(started_with, instead) :exec
-- Whom he brought were brought by who stands in his place.
UPDATE users
SET started_with = $2
WHERE starts_with(started_with, 'ref_') AND started_with = $1;

-- name: remove_user(user_id) :exec
-- A person to whom nothing refers any more.
DELETE FROM users
WHERE user_id = $1;
