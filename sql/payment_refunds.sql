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
-- A refund that we heard of, or news of one that we knew.
INSERT INTO payment_refunds AS known (
    refund_id, payment_id, provider, provider_refund_id, kind, status, amount, amount_rub
)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (refund_id) DO UPDATE
SET
    provider_refund_id = coalesce(known.provider_refund_id, excluded.provider_refund_id),
    status = excluded.status,
    amount_rub = excluded.amount_rub,
    check_at = now(),
    checks = 0;
