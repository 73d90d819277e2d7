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
-- What became of an event that moved no payment; a pause that was set before is not cut short.
UPDATE payment_events
SET
    status = $2,
    reason = $3,
    payment_id = coalesce($4, payment_id),
    finished_at = CASE WHEN $2 IN ('applied', 'ignored', 'closed') THEN $5::timestamptz END,
    due_at = greatest(due_at, $6)
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

-- name: reopen_reviews(payment_id, now) :exec
-- Money of this payment came to us again: a refund that was more than was left may fit now.
WITH reviewed AS (
    SELECT id FROM payment_events
    WHERE payment_id = $1 AND status = 'review'
    FOR UPDATE SKIP LOCKED
)

UPDATE payment_events
SET status = 'waiting', due_at = $2
FROM reviewed
WHERE payment_events.id = reviewed.id;

-- name: create_payment(payment_id, user_id, provider, amount, currency, credit_rub, pack_id, test, until, now) :exec
-- A new order, before the processor hears of it; made once. In a minute it is asked why it is not there yet.
INSERT INTO payments (
    payment_id, user_id, provider, amount, currency, credit_rub, pack_id, test, expires_at, created_at, check_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10::timestamptz + interval '1 minute')
ON CONFLICT (payment_id) DO NOTHING;

-- name: name_payment(payment_id, provider_payment_id, pay_url, now) :one
-- The processor has agreed to it: it has a name there, and a place to be paid. In five minutes it is asked again.
WITH agreed AS (
    UPDATE payments
    SET
        provider_payment_id = coalesce($2, provider_payment_id),
        pay_url = $3,
        status = CASE WHEN status = 'creating' THEN 'pending' ELSE status END,
        check_at = CASE WHEN status = 'creating' THEN $4::timestamptz + interval '5 minutes' ELSE check_at END
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

-- name: lock_payment(payment_id) :one
-- One payment, kept from everybody else until the transaction ends.
SELECT
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
FROM payments
WHERE payment_id = $1
FOR UPDATE;

-- name: list_payments(before_at, before_id, page) :many
-- Payments, newest first, after the last of the previous page.
SELECT
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
FROM payments
WHERE (created_at, payment_id) < ($1, $2)
ORDER BY created_at DESC, payment_id DESC
LIMIT $3;

-- name: list_payments_by_status(status, before_at, before_id, page) :many
-- Payments of one status, newest first, after the last of the previous page.
SELECT
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
FROM payments
WHERE status = $1 AND (created_at, payment_id) < ($2, $3)
ORDER BY created_at DESC, payment_id DESC
LIMIT $4;

-- name: list_payments_of_user(user_id, status, before_at, before_id, page) :many
-- One person's payments, of one status or of any, newest first, after the last of the previous page.
SELECT
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
FROM payments
WHERE user_id = $1 AND ($2::text IS NULL OR status = $2) AND (created_at, payment_id) < ($3, $4)
ORDER BY created_at DESC, payment_id DESC
LIMIT $5;

-- name: list_references(payment_id) :many
-- The names that processors have for a payment.
SELECT provider, reference
FROM payment_references
WHERE payment_id = $1
ORDER BY provider, reference;

-- name: list_payment_events(payment_id, page) :many
-- What processors said of a payment, the last first.
SELECT id, provider, delivery_key, name, status, reason, deliveries, attempts, received_at, finished_at
FROM payment_events
WHERE payment_id = $1
ORDER BY id DESC
LIMIT $2;

-- name: list_review(waiting_since, before_at, before_id, page) :many
-- What could not be applied: for review, or waiting for so long; newest first, after the previous page's last.
SELECT
    id, provider, delivery_key, name, reference, status, reason, payment_id, deliveries, attempts, received_at, due_at,
    body
FROM payment_events
WHERE
    status IN ('waiting', 'review')
    AND (status = 'review' OR received_at < $1)
    AND (received_at, id) < ($2, $3)
ORDER BY received_at DESC, id DESC
LIMIT $4;

-- name: get_event_state(event_id) :value
-- How it stands with an event.
SELECT status FROM payment_events
WHERE id = $1;

-- name: retry_event(event_id, now) :exec
-- An operator wants it tried again at once.
UPDATE payment_events
SET status = 'waiting', due_at = $2
WHERE id = $1 AND status IN ('waiting', 'review');

-- name: close_event(event_id, reason, now) :exec
-- An operator has seen to it in another way; his reason goes behind ours.
UPDATE payment_events
SET status = 'closed', reason = concat_ws('; ', nullif(reason, ''), $2::text), finished_at = $3
WHERE id = $1 AND status IN ('waiting', 'review');

-- name: claim_events(now, first, longest, providers, batch) :many
-- Events of these processors that wait and are due, in their order; each pause is twice as long as the last.
WITH due AS (
    SELECT id FROM payment_events
    WHERE status = 'waiting' AND due_at <= $1 AND provider = any($4::text[])
    ORDER BY due_at, id
    LIMIT $5
    FOR UPDATE SKIP LOCKED
),

claimed AS (
    UPDATE payment_events
    SET
        attempts = attempts + 1,
        due_at = $1 + least($2::interval * power(2, least(attempts, 20)), $3::interval) * (0.9 + random() / 5)
    FROM due
    WHERE payment_events.id = due.id
    RETURNING payment_events.id, provider, delivery_key, body, reason, received_at
)

SELECT id, provider, delivery_key, body, reason, received_at
FROM claimed
ORDER BY id;

-- name: shelve_event(event_id, reason) :exec
-- It waited in vain: an operator has to look. Its own reason is better than none.
UPDATE payment_events
SET status = 'review', reason = coalesce(nullif(reason, ''), $2)
WHERE id = $1 AND status = 'waiting';

-- name: forget_hint(event_id) :exec
-- The processor does not vouch for what it was said to have said; its own word is stored instead.
DELETE FROM payment_events
WHERE id = $1 AND status = 'waiting';

-- name: claim_orders(now, first, longest, providers, batch) :many
-- Open orders at these processors that are to be asked about, the longest due first.
WITH due AS (
    SELECT payment_id FROM payments
    WHERE
        status IN ('creating', 'pending', 'waiting_for_capture')
        AND check_at <= $1
        AND provider = any($4::text[])
    ORDER BY check_at, payment_id
    LIMIT $5
    FOR UPDATE SKIP LOCKED
),

claimed AS (
    UPDATE payments
    SET
        checks = checks + 1,
        check_at = $1 + least($2::interval * power(2, least(checks, 20)), $3::interval) * (0.9 + random() / 5)
    FROM due
    WHERE payments.payment_id = due.payment_id
    RETURNING
        payments.payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub,
        refunded_amount, refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
)

SELECT
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
FROM claimed
ORDER BY created_at, payment_id;

-- name: expire_order(payment_id) :exec
-- Nobody paid it in its time. Money that comes all the same still counts.
UPDATE payments
SET status = 'expired'
WHERE payment_id = $1 AND status IN ('creating', 'pending');

-- name: leave_order(payment_id) :exec
-- It was asked about for long enough; it stays as it is.
UPDATE payments
SET check_at = NULL
WHERE payment_id = $1 AND status IN ('creating', 'pending', 'waiting_for_capture');

-- name: is_named(providers, refs) :value
-- Whether a payment of ours is known by any of these names.
SELECT exists(
    SELECT FROM unnest($1::text[], $2::text[]) AS given (provider, reference)
    INNER JOIN payment_references AS named
        ON given.provider = named.provider AND given.reference = named.reference
) AS is_named;

-- name: claim_untold(now, until, batch) :many
-- Payments whose payers are to be told, for this one to tell; somebody else's turn comes at `until`.
WITH due AS (
    SELECT payment_id FROM payments
    WHERE status = 'succeeded' AND told_at IS NULL AND check_at <= $1
    ORDER BY check_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
)

UPDATE payments
SET check_at = $2
FROM due
WHERE payments.payment_id = due.payment_id
RETURNING payments.payment_id, payments.user_id, payments.credit_rub, payments.settled_at;

-- name: mark_told(payment_id, now) :exec
-- The payer knows.
UPDATE payments
SET told_at = $2
WHERE payment_id = $1;

-- name: list_payments_of(user_id, page) :many
-- A person's payments, the newest first.
SELECT
    payment_id, user_id, provider, provider_payment_id, status, amount, currency, credit_rub, refunded_amount,
    refunded_rub, pack_id, pay_url, test, created_at, expires_at, settled_at, told_at
FROM payments
WHERE user_id = $1
ORDER BY created_at DESC
LIMIT $2;

-- name: measure_inbox(now, most) :many
-- What is not applied by status, the oldest so many of it, and for how many seconds the oldest has waited.
SELECT
    open.status, count(*) AS events,
    greatest(extract(EPOCH FROM $1::timestamptz - min(open.received_at)), 0)::float8 AS oldest_s
FROM (
    SELECT status, received_at FROM payment_events
    WHERE status IN ('waiting', 'review')
    ORDER BY received_at, id
    LIMIT $2
) AS open
GROUP BY open.status;
