-- Ledger verify: whether balances, the ledger, payments, refunds and reservations agree.
-- Owns:
-- Reads: balances,payment_transactions,payment_effects,payment_reservations,payments,payment_references,payment_refunds
--
-- Each check is one statement about the people of one range, ($1, $2]: it sees one moment, whatever moves meanwhile.
-- It answers with as many differences as are to be shown, and with how many there are. An entry may be missing where
-- the ledger was: then the sum is booked as 'opening:...' or 'unbooked:...' later on, or is to be, or was nothing.

-- name: plan_for_ranges() :value
-- Until the transaction ends: plans for the very ranges, and memory for their sums.
SELECT
    set_config('plan_cache_mode', 'force_custom_plan', TRUE) || set_config('work_mem', '64MB', TRUE)
    || set_config('jit', 'off', TRUE) AS settings;

-- name: next_range(after, size) :one
-- Where a range of so many people ends, and how many there are in it.
SELECT
    max(user_id) AS until,
    count(*) AS people
FROM (SELECT user_id FROM balances WHERE user_id > $1 ORDER BY user_id LIMIT $2) AS range;

-- name: compare(after, until, since) :one
-- Which checks find anything in a range, by one look at each table: sums, and sums of hashes of what must be there.
WITH booked AS (
    SELECT
        user_id,
        sum(amount_rub) AS amount_rub,
        sum(coalesce(uuid_hash_extended(payment_id, (amount_rub * 100)::bigint), 1))
        FILTER (WHERE type = 'topup' AND (payment_id IS NOT NULL OR created_at >= $3)) AS topups,
        sum(uuid_hash_extended(reservation_id, (-amount_rub * 100)::bigint)) AS captures,
        sum(-amount_rub * coalesce(uuid_hash_extended(payment_id, 0) % 1000003, 1))
        FILTER (WHERE refund_id IS NOT NULL OR (type = 'chargeback' AND created_at >= $3)) AS chargebacks
    FROM payment_transactions
    WHERE user_id > $1 AND user_id <= $2
    GROUP BY user_id
),

settled AS (
    SELECT
        user_id,
        sum(uuid_hash_extended(payment_id, (credit_rub * 100)::bigint)) AS topups,
        sum(refunded_rub * (uuid_hash_extended(payment_id, 0) % 1000003)) AS chargebacks
    FROM payments
    WHERE user_id > $1 AND user_id <= $2 AND status = 'succeeded'
    GROUP BY user_id
),

reserved AS (
    SELECT
        user_id,
        sum(amount_rub) FILTER (WHERE status = 'held') AS held_rub,
        sum(uuid_hash_extended(reservation_id, (captured_rub * 100)::bigint))
        FILTER (WHERE status = 'captured') AS captures
    FROM payment_reservations
    WHERE user_id > $1 AND user_id <= $2 AND status IN ('held', 'captured')
    GROUP BY user_id
),

balance AS (SELECT user_id, balance_rub, unbooked_rub FROM balances WHERE user_id > $1 AND user_id <= $2)

SELECT
    coalesce(bool_or(coalesce(balance.balance_rub, 0) + coalesce(reserved.held_rub, 0)
            <> coalesce(booked.amount_rub, 0) + coalesce(balance.unbooked_rub, 0)), FALSE) AS sums,
    coalesce(bool_or(booked.topups IS DISTINCT FROM settled.topups), FALSE) AS topups,
    coalesce(bool_or(booked.captures IS DISTINCT FROM reserved.captures), FALSE) AS captures,
    coalesce(bool_or(coalesce(booked.chargebacks, 0) <> coalesce(settled.chargebacks, 0)), FALSE) AS chargebacks
FROM balance
FULL JOIN booked ON balance.user_id = booked.user_id
FULL JOIN settled ON coalesce(balance.user_id, booked.user_id) = settled.user_id
FULL JOIN reserved ON coalesce(balance.user_id, booked.user_id, settled.user_id) = reserved.user_id;

-- name: verify_sums(after, until, shown) :many
-- A balance and what is held are the sum of the entries, and of what is not booked yet.
WITH booked AS (
    SELECT user_id, sum(amount_rub) AS amount_rub
    FROM payment_transactions
    WHERE user_id > $1 AND user_id <= $2
    GROUP BY user_id
),

held AS (
    SELECT user_id, sum(amount_rub) AS amount_rub
    FROM payment_reservations
    WHERE status = 'held' AND user_id > $1 AND user_id <= $2
    GROUP BY user_id
),

balance AS (
    SELECT user_id, balance_rub, unbooked_rub FROM balances
    WHERE user_id > $1 AND user_id <= $2
),

sums AS (
    SELECT
        coalesce(balance.user_id, booked.user_id, held.user_id) AS user_id,
        coalesce(booked.amount_rub, 0) + coalesce(balance.unbooked_rub, 0) AS expected,
        coalesce(balance.balance_rub, 0) + coalesce(held.amount_rub, 0) AS found
    FROM balance
    FULL JOIN booked ON balance.user_id = booked.user_id
    FULL JOIN held ON coalesce(balance.user_id, booked.user_id) = held.user_id
)

SELECT
    user_id,
    'balance and held' AS what,
    expected::text AS expected,
    found::text AS found,
    count(*) OVER () AS total
FROM sums
WHERE expected <> found
ORDER BY user_id
LIMIT $3;

-- name: verify_topups(after, until, since, shown) :many
-- A top-up and a payment that succeeded are one to one, of the same person and roubles; before $3 they had no payment.
WITH credited AS (
    SELECT payment_id, user_id, count(*) AS entries, sum(amount_rub) AS amount_rub
    FROM payment_transactions
    WHERE user_id > $1 AND user_id <= $2 AND type = 'topup' AND (payment_id IS NOT NULL OR created_at >= $3)
    GROUP BY payment_id, user_id
),

settled AS (
    SELECT payment_id, user_id, credit_rub, settled_at FROM payments
    WHERE user_id > $1 AND user_id <= $2 AND status = 'succeeded'
),

unlike AS (
    SELECT
        coalesce(settled.user_id, credited.user_id) AS user_id,
        coalesce(settled.payment_id, credited.payment_id) AS payment_id,
        coalesce(settled.credit_rub, 0.00) AS expected,
        format('%s in %s entries', coalesce(credited.amount_rub, 0.00), coalesce(credited.entries, 0)) AS found,
        CASE WHEN credited.user_id IS NULL THEN settled.settled_at END AS lacking_since
    FROM credited
    FULL JOIN settled ON credited.payment_id = settled.payment_id AND credited.user_id = settled.user_id
    WHERE settled.credit_rub IS DISTINCT FROM credited.amount_rub OR credited.entries <> 1
)

SELECT
    unlike.user_id, 'top-up of payment ' || coalesce(unlike.payment_id::text, 'none') AS what,
    unlike.expected::text AS expected, unlike.found, count(*) OVER () AS total
FROM unlike
LEFT JOIN balances AS owner ON unlike.user_id = owner.user_id
LEFT JOIN LATERAL (
    SELECT
        max(had.created_at) FILTER (WHERE had.effect_key ~ '^(opening|unbooked):')
            + interval '15 minutes' AS explained_at,
        coalesce(min(had.created_at), 'infinity') AS began_at
    FROM payment_transactions AS had
    WHERE had.user_id = unlike.user_id
) AS past ON TRUE
WHERE
    unlike.lacking_since IS NULL
    OR (owner.unbooked_rub = 0 AND owner.booked_in = 'payment_transactions'::regclass::oid
        AND (past.explained_at > unlike.lacking_since) IS NOT TRUE
        AND (past.began_at <= unlike.lacking_since OR NOT EXISTS (
            SELECT FROM payment_references AS named INNER JOIN payment_effects AS effect
                ON effect.effect_key = named.provider || ':payment:' || named.reference
            WHERE named.payment_id = unlike.payment_id
        )))
ORDER BY unlike.user_id, unlike.payment_id
LIMIT $4;

-- name: verify_captures(after, until, shown) :many
-- A reservation that was captured has one entry, which takes away what was captured.
WITH spent AS (
    SELECT reservation_id, user_id, count(*) AS entries, sum(amount_rub) AS amount_rub
    FROM payment_transactions
    WHERE user_id > $1 AND user_id <= $2 AND reservation_id IS NOT NULL
    GROUP BY reservation_id, user_id
),

captured AS (
    SELECT reservation_id, user_id, -captured_rub AS amount_rub, finished_at FROM payment_reservations
    WHERE user_id > $1 AND user_id <= $2 AND status = 'captured'
),

unlike AS (
    SELECT
        coalesce(captured.user_id, spent.user_id) AS user_id,
        coalesce(captured.reservation_id, spent.reservation_id) AS reservation_id,
        coalesce(captured.amount_rub, 0.00) AS expected,
        format('%s in %s entries', coalesce(spent.amount_rub, 0.00), coalesce(spent.entries, 0)) AS found,
        CASE WHEN spent.user_id IS NULL THEN captured.finished_at END AS lacking_since
    FROM spent
    FULL JOIN captured ON spent.reservation_id = captured.reservation_id AND spent.user_id = captured.user_id
    WHERE captured.amount_rub IS DISTINCT FROM spent.amount_rub OR spent.entries <> 1
)

SELECT
    unlike.user_id, 'spending of reservation ' || unlike.reservation_id AS what,
    unlike.expected::text AS expected, unlike.found, count(*) OVER () AS total
FROM unlike
LEFT JOIN balances AS owner ON unlike.user_id = owner.user_id
LEFT JOIN LATERAL (
    SELECT
        max(had.created_at) FILTER (WHERE had.effect_key ~ '^(opening|unbooked):')
            + interval '15 minutes' AS explained_at,
        coalesce(min(had.created_at), 'infinity') AS began_at
    FROM payment_transactions AS had
    WHERE had.user_id = unlike.user_id
) AS past ON TRUE
WHERE
    unlike.lacking_since IS NULL
    OR (owner.unbooked_rub = 0 AND owner.booked_in = 'payment_transactions'::regclass::oid
        AND (past.explained_at > unlike.lacking_since) IS NOT TRUE
        AND past.began_at <= unlike.lacking_since)
ORDER BY unlike.user_id, unlike.reservation_id
LIMIT $3;

-- name: verify_refunds(after, until, shown) :many
-- What a payment says went back is what its refunds and disputes say, and not more than was paid.
WITH given AS (
    SELECT payments.user_id, payments.payment_id, sum(refund.amount) AS amount, sum(refund.amount_rub) AS amount_rub
    FROM payment_refunds AS refund
    INNER JOIN payments ON refund.payment_id = payments.payment_id
    WHERE payments.user_id > $1 AND payments.user_id <= $2 AND refund.status = 'succeeded'
    GROUP BY payments.user_id, payments.payment_id
),

noted AS (
    SELECT
        user_id, payment_id, least(refunded_amount, amount) AS amount, least(refunded_rub, credit_rub) AS amount_rub
    FROM payments
    WHERE user_id > $1 AND user_id <= $2 AND (refunded_amount <> 0 OR refunded_rub <> 0)
)

SELECT
    coalesce(noted.user_id, given.user_id) AS user_id,
    'refunds of payment ' || coalesce(noted.payment_id, given.payment_id) AS what,
    format('%s for %s RUB', coalesce(noted.amount, 0.00), coalesce(noted.amount_rub, 0.00)) AS expected,
    format('%s for %s RUB', coalesce(given.amount, 0.00), coalesce(given.amount_rub, 0.00)) AS found,
    count(*) OVER () AS total
FROM noted
FULL JOIN given ON noted.payment_id = given.payment_id
WHERE noted.amount IS DISTINCT FROM given.amount OR noted.amount_rub IS DISTINCT FROM given.amount_rub
ORDER BY coalesce(noted.user_id, given.user_id), coalesce(noted.payment_id, given.payment_id)
LIMIT $3;

-- name: verify_chargebacks(after, until, since, shown) :many
-- What refunds and disputes took away in the ledger is what the payment says; before $3 there were none.
WITH taken AS (
    SELECT payment_id, user_id, sum(amount_rub) AS amount_rub
    FROM payment_transactions
    WHERE
        user_id > $1 AND user_id <= $2
        AND (refund_id IS NOT NULL OR (type = 'chargeback' AND created_at >= $3))
    GROUP BY payment_id, user_id
),

noted AS (
    SELECT user_id, payment_id, -refunded_rub AS amount_rub, settled_at FROM payments
    WHERE user_id > $1 AND user_id <= $2 AND refunded_rub <> 0
),

unlike AS (
    SELECT
        coalesce(noted.user_id, taken.user_id) AS user_id,
        coalesce(noted.payment_id, taken.payment_id) AS payment_id,
        coalesce(noted.amount_rub, 0.00) AS expected,
        coalesce(taken.amount_rub, 0.00) AS found,
        noted.settled_at AS lacking_since
    FROM taken
    FULL JOIN noted ON taken.payment_id = noted.payment_id AND taken.user_id = noted.user_id
    WHERE coalesce(noted.amount_rub, 0) <> coalesce(taken.amount_rub, 0)
)

SELECT
    unlike.user_id, 'chargebacks of payment ' || coalesce(unlike.payment_id::text, 'none') AS what,
    unlike.expected::text AS expected, unlike.found::text AS found, count(*) OVER () AS total
FROM unlike
LEFT JOIN balances AS owner ON unlike.user_id = owner.user_id
LEFT JOIN LATERAL (
    SELECT
        max(had.created_at) FILTER (WHERE had.effect_key ~ '^(opening|unbooked):')
            + interval '15 minutes' AS explained_at,
        coalesce(min(had.created_at), 'infinity') AS began_at
    FROM payment_transactions AS had
    WHERE had.user_id = unlike.user_id
) AS past ON TRUE
WHERE
    unlike.lacking_since IS NULL
    OR (owner.unbooked_rub = 0 AND owner.booked_in = 'payment_transactions'::regclass::oid
        AND (past.explained_at > unlike.lacking_since) IS NOT TRUE
        AND past.began_at <= unlike.lacking_since)
ORDER BY unlike.user_id, unlike.payment_id
LIMIT $4;

-- name: verify_debts(after, until, since, shown) :many
-- Nobody owes anything but after a chargeback. Of a time when the ledger was missing, or from before $3, nobody knows.
SELECT
    balances.user_id, 'a debt without a chargeback' AS what,
    '0.00' AS expected, balances.balance_rub::text AS found, count(*) OVER () AS total
FROM balances
WHERE
    balances.user_id > $1 AND balances.user_id <= $2
    AND balances.balance_rub < 0
    AND balances.unbooked_rub = 0
    AND balances.booked_in = 'payment_transactions'::regclass::oid
    AND NOT EXISTS (
        SELECT FROM payment_transactions AS entry
        WHERE
            entry.user_id = balances.user_id
            AND (
                entry.type = 'chargeback' OR entry.effect_key ~ '^(opening|unbooked):'
                OR entry.created_at < $3
            )
    )
ORDER BY balances.user_id
LIMIT $4;

-- name: keeps_effects_unique() :value
-- Whether the server itself sees to it that no effect is booked twice.
SELECT exists(
    SELECT FROM pg_catalog.pg_index
    WHERE
        indrelid = 'payment_transactions'::regclass AND indisunique AND indisvalid
        AND indpred IS NULL AND indexprs IS NULL
        AND pg_get_indexdef(indexrelid) LIKE '% (effect_key)'
) AS is_unique;

-- name: verify_effects(shown) :many
-- Effects that were booked more than once. Slow: to be asked only where the server does not see to it.
SELECT
    min(user_id) AS user_id, 'entries of effect ' || effect_key AS what,
    '1' AS expected, count(*)::text AS found, count(*) OVER () AS total
FROM payment_transactions
WHERE effect_key IS NOT NULL
GROUP BY effect_key
HAVING count(*) > 1
ORDER BY effect_key
LIMIT $1;
