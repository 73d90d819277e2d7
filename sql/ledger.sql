-- Ledger: balances, every movement of them, and the money that is put aside.
-- Owns: balances, payment_transactions, payment_effects, payment_reservations
-- Reads:
--
-- A movement locks the balance's row before it writes anything else of the person, so the sums below never see half
-- of one. Balances are locked before reservations: `reserve` cannot do otherwise, and a repeat of it waits for whoever
-- captures the same. Several balances are locked in the order of user_id, or without waiting for any.

-- name: post(effect_key, user_id, amount_rub, type, reason, payment_id, refund_id, may_owe) :one
-- Move a balance and book it, unless this effect was had; no balance is told where it would fall below zero.
WITH effect AS (
    INSERT INTO payment_effects (effect_key, user_id) VALUES ($1, $2)
    ON CONFLICT (effect_key) DO NOTHING
    RETURNING effect_key, user_id
),

moved AS (
    INSERT INTO balances AS balance (user_id, balance_rub, booked_in)
    SELECT effect.user_id, $3::numeric, 'payment_transactions'::regclass::oid
    FROM effect
    WHERE $8 OR $3::numeric >= 0 OR EXISTS (SELECT FROM balances AS known WHERE known.user_id = $2)
    ON CONFLICT (user_id) DO UPDATE
    SET balance_rub = balance.balance_rub + excluded.balance_rub
    WHERE $8 OR excluded.balance_rub >= 0 OR balance.balance_rub + excluded.balance_rub >= 0
    RETURNING balance.user_id, balance.balance_rub
),

entry AS (
    INSERT INTO payment_transactions (
        user_id, amount_rub, type, reason, effect_key, balance_rub, payment_id, refund_id
    )
    SELECT moved.user_id, $3::numeric, $4, $5, $1, moved.balance_rub, $6, $7
    FROM moved
)

SELECT
    (SELECT count(*) = 1 FROM effect) AS is_new,
    (SELECT moved.balance_rub FROM moved) AS balance_rub;

-- name: post_unbooked(effect_key, user_id, amount_rub, may_owe) :one
-- The same while the ledger is missing: what is not booked is remembered with the balance.
WITH effect AS (
    INSERT INTO payment_effects (effect_key, user_id) VALUES ($1, $2)
    ON CONFLICT (effect_key) DO NOTHING
    RETURNING effect_key, user_id
),

moved AS (
    INSERT INTO balances AS balance (user_id, balance_rub, unbooked_rub, booked_in)
    SELECT effect.user_id, $3::numeric, $3::numeric, 0
    FROM effect
    WHERE $4 OR $3::numeric >= 0 OR EXISTS (SELECT FROM balances AS known WHERE known.user_id = $2)
    ON CONFLICT (user_id) DO UPDATE
    SET
        balance_rub = balance.balance_rub + excluded.balance_rub,
        unbooked_rub = balance.unbooked_rub + excluded.balance_rub
    WHERE $4 OR excluded.balance_rub >= 0 OR balance.balance_rub + excluded.balance_rub >= 0
    RETURNING balance.balance_rub
)

SELECT
    (SELECT count(*) = 1 FROM effect) AS is_new,
    (SELECT moved.balance_rub FROM moved) AS balance_rub;

-- name: get_balance(user_id) :one
-- What a person can spend, and what is put aside.
SELECT
    balances.user_id,
    balances.balance_rub,
    coalesce((
        SELECT sum(held.amount_rub)
        FROM payment_reservations AS held
        WHERE held.user_id = balances.user_id AND held.status = 'held'
    ), 0.00) AS held_rub
FROM balances
WHERE balances.user_id = $1;

-- name: list_entries(user_id, before_at, before_id, page) :many
-- A person's ledger, newest first, after the last entry of the previous page.
SELECT id, user_id, amount_rub, type, reason, created_at, effect_key, balance_rub, payment_id
FROM payment_transactions
WHERE user_id = $1 AND (created_at, id) < ($2, $3)
ORDER BY created_at DESC, id DESC
LIMIT $4;

-- name: reserve(reservation_id, user_id, amount_rub, purpose, expires_at) :one
-- Put money aside, where there is enough of it and this reservation is new.
WITH balance AS (
    SELECT user_id FROM balances
    WHERE user_id = $2 AND balance_rub >= $3::numeric
    FOR UPDATE
),

held AS (
    INSERT INTO payment_reservations (reservation_id, user_id, amount_rub, purpose, expires_at)
    SELECT $1, balance.user_id, $3::numeric, $4, $5
    FROM balance
    ON CONFLICT (reservation_id) DO NOTHING
    RETURNING reservation_id, user_id, amount_rub, captured_rub, status, purpose, expires_at
),

taken AS (
    UPDATE balances
    SET balance_rub = balances.balance_rub - held.amount_rub
    FROM held
    WHERE balances.user_id = held.user_id
)

SELECT reservation_id, user_id, amount_rub, captured_rub, status, purpose, expires_at
FROM held;

-- name: get_reservation(reservation_id) :one
-- One reservation as it stands.
SELECT reservation_id, user_id, amount_rub, captured_rub, status, purpose, expires_at
FROM payment_reservations
WHERE reservation_id = $1;

-- name: capture(reservation_id, amount_rub, now, effect_key, type, reason, payment_id, refund_id) :one
-- Spend what was put aside, or less of it, and book it; the rest goes back.
WITH owner AS (
    SELECT balances.user_id
    FROM balances INNER JOIN payment_reservations AS held ON balances.user_id = held.user_id
    WHERE held.reservation_id = $1 AND held.status = 'held'
    FOR UPDATE OF balances
),

captured AS (
    UPDATE payment_reservations AS held
    SET status = 'captured', captured_rub = $2::numeric, finished_at = $3::timestamptz
    FROM owner
    WHERE
        held.reservation_id = $1
        AND held.user_id = owner.user_id
        AND held.status = 'held'
        AND held.amount_rub >= $2::numeric
        AND (held.expires_at IS NULL OR held.expires_at > $3::timestamptz)
    RETURNING
        held.reservation_id, held.user_id, held.amount_rub, held.captured_rub, held.status, held.purpose,
        held.expires_at
),

balance AS (
    UPDATE balances
    SET balance_rub = balances.balance_rub + captured.amount_rub - captured.captured_rub
    FROM captured
    WHERE balances.user_id = captured.user_id
    RETURNING balances.user_id, balances.balance_rub
),

entry AS (
    INSERT INTO payment_transactions (
        user_id, amount_rub, type, reason, effect_key, balance_rub, payment_id, refund_id, reservation_id
    )
    SELECT balance.user_id, -$2::numeric, $5, $6, $4, balance.balance_rub, $7, $8, $1
    FROM balance
)

SELECT reservation_id, user_id, amount_rub, captured_rub, status, purpose, expires_at
FROM captured;

-- name: capture_unbooked(reservation_id, amount_rub, now) :one
-- The same while the ledger is missing.
WITH owner AS (
    SELECT balances.user_id
    FROM balances INNER JOIN payment_reservations AS held ON balances.user_id = held.user_id
    WHERE held.reservation_id = $1 AND held.status = 'held'
    FOR UPDATE OF balances
),

captured AS (
    UPDATE payment_reservations AS held
    SET status = 'captured', captured_rub = $2::numeric, finished_at = $3::timestamptz
    FROM owner
    WHERE
        held.reservation_id = $1
        AND held.user_id = owner.user_id
        AND held.status = 'held'
        AND held.amount_rub >= $2::numeric
        AND (held.expires_at IS NULL OR held.expires_at > $3::timestamptz)
    RETURNING
        held.reservation_id, held.user_id, held.amount_rub, held.captured_rub, held.status, held.purpose,
        held.expires_at
),

balance AS (
    UPDATE balances
    SET
        balance_rub = balances.balance_rub + captured.amount_rub - captured.captured_rub,
        unbooked_rub = balances.unbooked_rub - captured.captured_rub
    FROM captured
    WHERE balances.user_id = captured.user_id
)

SELECT reservation_id, user_id, amount_rub, captured_rub, status, purpose, expires_at
FROM captured;

-- name: release(reservation_id, now) :one
-- Give back what was put aside.
WITH owner AS (
    SELECT balances.user_id
    FROM balances INNER JOIN payment_reservations AS held ON balances.user_id = held.user_id
    WHERE held.reservation_id = $1 AND held.status = 'held'
    FOR UPDATE OF balances
),

released AS (
    UPDATE payment_reservations AS held
    SET status = 'released', finished_at = $2::timestamptz
    FROM owner
    WHERE held.reservation_id = $1 AND held.user_id = owner.user_id AND held.status = 'held'
    RETURNING
        held.reservation_id, held.user_id, held.amount_rub, held.captured_rub, held.status, held.purpose,
        held.expires_at
),

balance AS (
    UPDATE balances
    SET balance_rub = balances.balance_rub + released.amount_rub
    FROM released
    WHERE balances.user_id = released.user_id
)

SELECT reservation_id, user_id, amount_rub, captured_rub, status, purpose, expires_at
FROM released;

-- name: prolong(reservation_ids, expires_at) :exec
-- Whoever these are for is alive and at work.
WITH alive AS (
    SELECT reservation_id FROM payment_reservations
    WHERE reservation_id = any($1::uuid[]) AND status = 'held' AND expires_at < $2
    ORDER BY reservation_id
    FOR UPDATE
)

UPDATE payment_reservations
SET expires_at = $2
FROM alive
WHERE payment_reservations.reservation_id = alive.reservation_id;

-- name: expire(now, batch) :value
-- Give back what nobody captured in its time; how many reservations that were.
WITH due AS (
    SELECT reservation_id, user_id FROM payment_reservations
    WHERE status = 'held' AND expires_at <= $1
    ORDER BY expires_at
    LIMIT $2
    FOR UPDATE SKIP LOCKED
),

-- It holds reservations already, so it waits for nobody: whose balance moves at this moment has his turn next time.
locked AS (
    SELECT user_id FROM balances
    WHERE user_id IN (SELECT due.user_id FROM due)
    FOR UPDATE SKIP LOCKED
),

expired AS (
    UPDATE payment_reservations
    SET status = 'expired', finished_at = $1
    FROM due INNER JOIN locked ON due.user_id = locked.user_id
    WHERE payment_reservations.reservation_id = due.reservation_id
    RETURNING payment_reservations.user_id, payment_reservations.amount_rub
),

freed AS (
    SELECT user_id, sum(amount_rub) AS amount_rub, count(*) AS reservations
    FROM expired
    GROUP BY user_id
),

balance AS (
    UPDATE balances
    SET balance_rub = balances.balance_rub + freed.amount_rub
    FROM freed
    WHERE balances.user_id = freed.user_id
)

SELECT coalesce(sum(reservations), 0)::bigint AS expired
FROM freed;

-- name: list_unbooked(batch) :value
-- People whose ledger does not explain their balance, since it was missing or has lost its past.
WITH moved AS (
    SELECT user_id FROM balances WHERE unbooked_rub <> 0
    ORDER BY user_id LIMIT $1
),

forgotten AS (
    SELECT user_id FROM balances WHERE booked_in < 'payment_transactions'::regclass::oid
    ORDER BY booked_in LIMIT $1
),

foreseen AS (  -- an older ledger was put back
    SELECT user_id FROM balances WHERE booked_in > 'payment_transactions'::regclass::oid
    ORDER BY booked_in LIMIT $1
),

unexplained AS (
    SELECT user_id FROM moved
    UNION
    SELECT user_id FROM forgotten
    UNION
    SELECT user_id FROM foreseen
)

SELECT coalesce(array_agg(user_id ORDER BY user_id), '{}'::bigint[]) AS user_ids
FROM unexplained;

-- name: lock_balances(user_ids) :value
-- Keep everybody from moving these until the transaction ends; how many there are.
WITH locked AS (
    SELECT user_id FROM balances
    WHERE user_id = any($1::bigint[])
    ORDER BY user_id
    FOR UPDATE
)

SELECT count(*) AS locked
FROM locked;

-- name: book_differences(user_ids) :value
-- Book what the ledger does not explain of locked balances, once; how many entries that took.
WITH booked AS (
    SELECT user_id, sum(amount_rub) AS amount_rub
    FROM payment_transactions
    WHERE user_id = any($1::bigint[])
    GROUP BY user_id
),

held AS (
    SELECT user_id, sum(amount_rub) AS amount_rub
    FROM payment_reservations
    WHERE user_id = any($1::bigint[]) AND status = 'held'
    GROUP BY user_id
),

-- The ledger that was only missing lacks what was remembered; one that is new lacks whatever does not add up.
difference AS (
    SELECT
        balances.user_id,
        CASE
            WHEN balances.booked_in = 'payment_transactions'::regclass::oid THEN balances.unbooked_rub
            ELSE balances.balance_rub + coalesce(held.amount_rub, 0) - coalesce(booked.amount_rub, 0)
        END AS amount_rub
    FROM balances
    LEFT JOIN booked ON balances.user_id = booked.user_id
    LEFT JOIN held ON balances.user_id = held.user_id
    WHERE balances.user_id = any($1::bigint[])
),

explained AS (
    UPDATE balances
    SET unbooked_rub = 0, booked_in = 'payment_transactions'::regclass::oid
    FROM difference
    WHERE balances.user_id = difference.user_id
    RETURNING balances.user_id, balances.balance_rub, difference.amount_rub
),

entry AS (
    INSERT INTO payment_transactions (user_id, amount_rub, type, reason, effect_key, balance_rub)
    SELECT
        user_id, amount_rub, 'adjustment', 'moved while the ledger was missing',
        'unbooked:' || gen_random_uuid(), balance_rub
    FROM explained
    WHERE amount_rub <> 0
    RETURNING id
)

SELECT count(*) AS entries
FROM entry;

-- name: list_payment_entries(payment_id) :many
-- What a payment and its refunds have moved, in order.
SELECT id, user_id, amount_rub, type, reason, created_at, effect_key, balance_rub, payment_id
FROM payment_transactions
WHERE payment_id = $1
ORDER BY id;
