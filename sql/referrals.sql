-- Referrals: who brought whom, and what it earned.
-- Owns: referrals
-- Reads: users, payments
--
-- A row that is void was adopted so, and counts for nothing. Locks are taken in this order: referral, balance.

-- name: get_last_came(now) :value
-- When the last of those came who have a referrer. What lies ahead of us was adopted so.
SELECT coalesce(max(created_at), 'epoch'::timestamptz) AS last_at FROM referrals
WHERE created_at <= $1;

-- name: link(after_at, after_id, batch) :one
-- Give the next people who came by a link the referrer it names; how many got one, and where it ended.
WITH came AS (
    SELECT user_id, started_at, substr(started_with, 5) AS named
    FROM users
    WHERE starts_with(started_with, 'ref_') AND (started_at, user_id) > ($1, $2)
    ORDER BY started_at, user_id
    LIMIT $3
),

-- As many digits as a bigint surely holds.
brought AS (
    SELECT user_id, started_at, CASE WHEN named ~ '^[1-9][0-9]{0,17}$' THEN named::bigint END AS referrer_id
    FROM came
    WHERE NOT EXISTS (
        SELECT FROM referrals AS known
        WHERE known.referred_id = came.user_id AND known.void_reason IS NULL
    )
),

-- Whoever came later than his friend did not bring him.
linked AS (
    INSERT INTO referrals (referrer_id, referred_id, created_at)
    SELECT referrer.user_id AS referrer_id, brought.user_id AS referred_id, brought.started_at
    FROM brought INNER JOIN users AS referrer ON brought.referrer_id = referrer.user_id
    WHERE brought.user_id <> referrer.user_id AND referrer.created_at <= brought.started_at
    ORDER BY brought.started_at, brought.user_id
    ON CONFLICT DO NOTHING
    RETURNING created_at
)

SELECT
    (SELECT count(*) FROM linked) AS linked,
    (SELECT min(linked.created_at) FROM linked) AS first_at,
    (SELECT came.started_at FROM came ORDER BY came.started_at DESC, came.user_id DESC LIMIT 1) AS last_at,
    (SELECT came.user_id FROM came ORDER BY came.started_at DESC, came.user_id DESC LIMIT 1) AS last_id;

-- name: get_summary(referrer_id) :one
-- How many somebody brought, how many of them have paid, and what he got for that.
SELECT
    count(*) AS came,
    count(rewarded_at) AS paid,
    coalesce(sum(reward_rub), 0.00) AS earned_rub
FROM referrals
WHERE referrer_id = $1 AND void_reason IS NULL;

-- name: list_rewards(referrer_id, page) :many
-- What somebody got last, the newest first.
SELECT coalesce(rewarded_at, created_at) AS rewarded_at, reward_rub
FROM referrals
WHERE referrer_id = $1 AND reward_rub > 0 AND void_reason IS NULL
ORDER BY coalesce(rewarded_at, created_at) DESC, id DESC
LIMIT $2;

-- name: list_due_lately(since, counts_tests, most) :value
-- Referrals without a reward whose friends paid an order that was made since then, of the newest so many orders.
WITH paid AS (
    SELECT user_id FROM payments
    WHERE
        status = 'succeeded'
        AND created_at >= $1
        AND refunded_rub < credit_rub
        AND ($2 OR NOT test)
    ORDER BY created_at DESC, payment_id DESC
    LIMIT $3
),

due AS (
    SELECT DISTINCT (
        SELECT referrals.id FROM referrals
        WHERE
            referrals.referred_id = paid.user_id
            AND referrals.rewarded_at IS NULL
            AND referrals.void_reason IS NULL
    ) AS id
    FROM paid
)

SELECT coalesce(array_agg(due.id ORDER BY due.id) FILTER (WHERE due.id IS NOT NULL), '{}'::bigint[]) AS due
FROM due;

-- name: look_through(after_id, counts_tests, batch) :one
-- Of the next referrals without a reward those whose friend has paid, and the last one that was looked at.
WITH unrewarded AS (
    SELECT id, referred_id FROM referrals
    WHERE rewarded_at IS NULL AND void_reason IS NULL AND id > $1
    ORDER BY id
    LIMIT $3
),

-- Friend by friend: an EXISTS might be made a join, which reads all payments for the sake of a batch.
due AS (
    SELECT unrewarded.id
    FROM unrewarded
    CROSS JOIN LATERAL (
        SELECT payments.payment_id FROM payments
        WHERE
            payments.user_id = unrewarded.referred_id
            AND payments.status = 'succeeded'
            AND payments.refunded_rub < payments.credit_rub
            AND ($2 OR NOT payments.test)
        ORDER BY payments.created_at
        LIMIT 1
    ) AS topup
)

SELECT
    (SELECT max(unrewarded.id) FROM unrewarded) AS last_id,
    (SELECT coalesce(array_agg(due.id ORDER BY due.id), '{}'::bigint[]) FROM due) AS due;

-- name: claim_unrewarded(referral_id, counts_tests) :one
-- A referral without a reward, locked, and what is left of the friend's first payment of which anything is.
SELECT referrals.id, referrals.referrer_id, referrals.referred_id, topup.kept_rub
FROM referrals
CROSS JOIN LATERAL (
    SELECT payments.credit_rub - payments.refunded_rub AS kept_rub
    FROM payments
    WHERE
        payments.user_id = referrals.referred_id
        AND payments.status = 'succeeded'
        AND payments.refunded_rub < payments.credit_rub
        AND ($2 OR NOT payments.test)
    ORDER BY payments.settled_at, payments.payment_id
    LIMIT 1
) AS topup
WHERE referrals.id = $1 AND referrals.rewarded_at IS NULL AND referrals.void_reason IS NULL
FOR UPDATE OF referrals SKIP LOCKED;

-- name: mark_rewarded(referral_id, reward_rub, now, tell_at) :exec
-- The reward is decided; NULL where nobody is to be told of it.
UPDATE referrals
SET reward_rub = $2, rewarded_at = $3, tell_at = $4
WHERE id = $1;

-- name: claim_untold(now, until, batch) :many
-- Rewards of which the referrers are to be told, for this one to tell; somebody else's turn comes at `until`.
WITH due AS (
    SELECT id FROM referrals
    WHERE tell_at <= $1
    ORDER BY tell_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)

UPDATE referrals
SET tell_at = $2
WHERE id = any(ARRAY(SELECT due.id FROM due))
RETURNING id, referrer_id, reward_rub;

-- name: mark_told(referral_id) :exec
-- The referrer knows.
UPDATE referrals
SET tell_at = NULL
WHERE id = $1;
