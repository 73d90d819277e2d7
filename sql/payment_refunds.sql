-- Payment refunds: money given back, and money that disputes took.
-- Owns: payment_refunds
-- Reads:
--
-- The payment's row is locked before any of these is written.

-- name: find_refund(payment_id, provider_refund_id, refund_id, amount) :one
-- The refund that an event means: by the processor's id, by ours, or one of ours that has no other name yet.
SELECT
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub, reservation_id, reason,
    created_at
FROM payment_refunds
WHERE
    payment_id = $1
    AND (
        provider_refund_id = $2
        OR (provider_refund_id IS NULL AND refund_id = $3)
        OR (
            provider_refund_id IS NULL AND $3::uuid IS NULL AND amount = $4 AND kind = 'refund'
            AND status IN ('requested', 'pending')
        )
    )
ORDER BY (provider_refund_id = $2) IS TRUE DESC, (refund_id = $3) IS TRUE DESC, created_at
LIMIT 1;

-- name: record_refund(refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub) :exec
-- A refund that we heard of, or news of one that we knew; unless it ends, its processor is asked in five minutes.
INSERT INTO payment_refunds AS known (
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub, check_at
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, now() + interval '5 minutes')
ON CONFLICT (refund_id) DO UPDATE
SET
    provider_refund_id = coalesce(known.provider_refund_id, excluded.provider_refund_id),
    status = excluded.status,
    amount_rub = excluded.amount_rub,
    check_at = excluded.check_at,
    checks = 0;

-- name: get_refund(refund_id) :one
-- One refund.
SELECT
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub, reservation_id, reason,
    created_at
FROM payment_refunds
WHERE refund_id = $1;

-- name: list_refunds(payment_id) :many
-- What went back of a payment, or is to go, in the order in which it was asked for.
SELECT
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub, reservation_id, reason,
    created_at
FROM payment_refunds
WHERE payment_id = $1
ORDER BY created_at, refund_id;

-- name: request_refund(refund_id, payment_id, provider, amount, reservation_id, reason, now, check_at) :one
-- An operator asks for it; whoever recovers refunds leaves it alone until then.
INSERT INTO payment_refunds (
    refund_id, payment_id, provider, status, amount, reservation_id, reason, created_at, check_at
)
VALUES ($1, $2, $3, 'requested', $4, $5, $6, $7, $8)
RETURNING
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub, reservation_id, reason,
    created_at;

-- name: claim_refund(refund_id, now, check_at) :one
-- An open refund that nobody is asking the processor about, left alone by others until then.
UPDATE payment_refunds
SET check_at = $3
WHERE refund_id = $1 AND status IN ('requested', 'pending') AND (check_at IS NULL OR check_at <= $2)
RETURNING
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub, reservation_id, reason,
    created_at;

-- name: fail_refund(refund_id, now) :one
-- The processor refused it for good, and has not said anything else.
UPDATE payment_refunds
SET status = 'failed', check_at = $2
WHERE refund_id = $1 AND status = 'requested' AND provider_refund_id IS NULL
RETURNING
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub, reservation_id, reason,
    created_at;

-- name: claim_refunds(now, first, longest, providers, batch) :many
-- Refunds at these processors whose end is not known, the longest due first; a dispute's end is told by itself.
WITH due AS (
    SELECT refund_id FROM payment_refunds
    WHERE
        status IN ('requested', 'pending')
        AND kind = 'refund'
        AND check_at <= $1
        AND provider = any($4::text[])
    ORDER BY check_at, refund_id
    LIMIT $5
    FOR UPDATE SKIP LOCKED
),

claimed AS (
    UPDATE payment_refunds
    SET
        checks = checks + 1,
        check_at = $1 + least($2::interval * power(2, least(checks, 20)), $3::interval) * (0.9 + random() / 5)
    FROM due
    WHERE payment_refunds.refund_id = due.refund_id
    RETURNING
        payment_refunds.refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub,
        reservation_id, reason, created_at
)

SELECT
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub, reservation_id, reason,
    created_at
FROM claimed
ORDER BY created_at, refund_id;

-- name: leave_refund(refund_id) :exec
-- It was asked about for long enough; it stays as it is.
UPDATE payment_refunds
SET check_at = NULL
WHERE refund_id = $1 AND status IN ('requested', 'pending');
