-- Payments: orders, the names that processors give them, and everything that processors said.
-- Owns: payments, payment_references, payment_events
-- Reads:
--
-- Locks are taken in this order: event, payment, balance, reservation.

-- name: store_event(provider, delivery_key, name, reference, body, now) :one
-- Keep what a processor said before anything is done about it, and lock it; a repeat is counted.
INSERT INTO payment_events AS known (provider, delivery_key, name, reference, body, received_at, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $6)
ON CONFLICT (provider, delivery_key) DO UPDATE
SET
    deliveries = known.deliveries + 1,
    body = CASE known.status WHEN 'waiting' THEN excluded.body ELSE known.body END
RETURNING known.id, known.status, known.reason, known.payment_id, known.deliveries;

-- name: get_event_status(provider, delivery_key) :value
-- How it stands with an event.
SELECT status FROM payment_events
WHERE provider = $1 AND delivery_key = $2;

-- name: lock_payments(payment_id, providers, refs) :many
-- The payments that an event can mean, by our id or by any that the processor uses, the latter first.
WITH meant AS (
    SELECT $1::uuid AS payment_id
    UNION
    SELECT named.payment_id
    FROM unnest($2::text[], $3::text[]) AS given (provider, reference)
    INNER JOIN payment_references AS named
        ON given.provider = named.provider AND given.reference = named.reference
)

SELECT
    payments.payment_id, payments.user_id, payments.provider, payments.provider_payment_id, payments.status,
    payments.amount, payments.currency, payments.credit_rub, payments.refunded_amount, payments.refunded_rub,
    payments.pack_id, payments.pay_url, payments.test, payments.created_at, payments.expires_at,
    payments.settled_at, payments.told_at
FROM payments INNER JOIN meant ON payments.payment_id = meant.payment_id
ORDER BY (payments.payment_id = $1), payments.payment_id
FOR UPDATE OF payments;

-- name: move_payment(payment_id, status, provider_payment_id, now, providers, refs, event_id) :exec
-- The payment came to this status by this event; what waits for the payment is due now.
WITH moved AS (
    UPDATE payments
    SET
        status = $2,
        provider_payment_id = coalesce(provider_payment_id, $3),
        settled_at = CASE $2 WHEN 'succeeded' THEN $4::timestamptz END,
        check_at = $4,
        checks = 0
    WHERE payment_id = $1
),

named AS (
    INSERT INTO payment_references (provider, reference, payment_id)
    SELECT given.provider, given.reference, $1
    FROM unnest($5::text[], $6::text[]) AS given (provider, reference)
    ON CONFLICT (provider, reference) DO NOTHING
),

-- One that is locked is being settled at this moment, and may be waiting for this payment: it is not waited for.
sleeping AS (
    SELECT waiting.id
    FROM payment_events AS waiting
    INNER JOIN unnest($5::text[], $6::text[]) AS given (provider, reference)
        ON waiting.provider = given.provider AND waiting.reference = given.reference
    WHERE waiting.status = 'waiting' AND waiting.id <> $7
    FOR UPDATE OF waiting SKIP LOCKED
),

woken AS (
    UPDATE payment_events
    SET due_at = $4
    FROM sleeping
    WHERE payment_events.id = sleeping.id
)

UPDATE payment_events
SET status = 'applied', reason = '', payment_id = $1, finished_at = $4
WHERE id = $7;

-- name: finish_event(event_id, status, reason, payment_id, now, due_at) :exec
-- What became of an event that moved no payment.
UPDATE payment_events
SET
    status = $2,
    reason = $3,
    payment_id = coalesce($4, payment_id),
    finished_at = CASE WHEN $2 IN ('applied', 'ignored', 'closed') THEN $5::timestamptz END,
    due_at = $6
WHERE id = $1;

-- name: hold_for_review(payment_id) :exec
-- Money came for it that does not fit: an operator has to look.
UPDATE payments
SET status = 'review'
WHERE payment_id = $1 AND status <> 'succeeded';

-- name: repeat_payment(payment_id, repeated_id, now) :one
-- The same order was paid once more: a payment of its own, like the first.
INSERT INTO payments (
    payment_id, user_id, provider, status, amount, currency, credit_rub, pack_id, test, expires_at, created_at
)
SELECT $1, user_id, provider, 'pending', amount, currency, credit_rub, pack_id, test, expires_at, $3
FROM payments
WHERE payment_id = $2
ON CONFLICT (payment_id) DO UPDATE SET payment_id = excluded.payment_id
RETURNING
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at;

-- name: note_refund(payment_id, amount, amount_rub) :exec
-- This much more of it went back; negative where it came to us again.
UPDATE payments
SET refunded_amount = refunded_amount + $2, refunded_rub = refunded_rub + $3
WHERE payment_id = $1;

-- name: create_payment(payment_id, user_id, provider, amount, currency, credit_rub, pack_id, test, until, now) :exec
-- A new order, before the processor hears of it; made once.
INSERT INTO payments (
    payment_id, user_id, provider, amount, currency, credit_rub, pack_id, test, expires_at, created_at, check_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)
ON CONFLICT (payment_id) DO NOTHING;

-- name: name_payment(payment_id, provider_payment_id, pay_url, now) :one
-- The processor has agreed to it: it has a name there, and a place to be paid.
WITH agreed AS (
    UPDATE payments
    SET
        provider_payment_id = coalesce($2, provider_payment_id),
        pay_url = $3,
        status = CASE WHEN status = 'creating' THEN 'pending' ELSE status END,
        check_at = $4
    WHERE payment_id = $1
    RETURNING
        payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
        refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
),

named AS (
    INSERT INTO payment_references (provider, reference, payment_id)
    SELECT provider, $2, payment_id
    FROM agreed
    WHERE $2 IS NOT NULL
    ON CONFLICT (provider, reference) DO NOTHING
)

SELECT
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
FROM agreed;

-- name: get_payment(payment_id) :one
-- One payment.
SELECT
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
FROM payments
WHERE payment_id = $1;

-- name: cancel_unmade(payment_id) :exec
-- The processor refused to make it.
UPDATE payments
SET status = 'canceled'
WHERE payment_id = $1 AND status = 'creating';
