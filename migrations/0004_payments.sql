-- What people pay: orders, the names that processors give them, everything processors said, and money given back.
-- depends: 0003_balances

CREATE TABLE IF NOT EXISTS payments (
    payment_id uuid NOT NULL,
    user_id bigint NOT NULL,
    provider text NOT NULL,
    provider_payment_id text,
    status text NOT NULL DEFAULT 'creating',
    amount numeric(14, 2) NOT NULL,
    currency text NOT NULL DEFAULT 'RUB',
    credit_rub numeric(14, 2) NOT NULL,
    refunded_amount numeric(14, 2) NOT NULL DEFAULT 0,
    refunded_rub numeric(14, 2) NOT NULL DEFAULT 0,
    pack_id text NOT NULL,
    pay_url text,
    test boolean NOT NULL DEFAULT FALSE,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    settled_at timestamptz,
    told_at timestamptz,
    checks integer NOT NULL DEFAULT 0,
    check_at timestamptz,
    CONSTRAINT payments_pkey PRIMARY KEY (payment_id),
    CONSTRAINT payments_user_known FOREIGN KEY (user_id) REFERENCES users (user_id),
    CONSTRAINT payments_provider_payment_once UNIQUE (provider, provider_payment_id),
    CONSTRAINT payments_status_known CHECK (
        status IN ('creating', 'pending', 'waiting_for_capture', 'succeeded', 'canceled', 'expired', 'review')
    ),
    CONSTRAINT payments_currency_code CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT payments_amount_positive CHECK (amount > 0 AND credit_rub > 0),
    CONSTRAINT payments_refunds_within CHECK (
        refunded_amount BETWEEN 0 AND amount AND refunded_rub BETWEEN 0 AND credit_rub
    ),
    CONSTRAINT payments_settled_when CHECK ((settled_at IS NOT NULL) = (status = 'succeeded'))
);

CREATE INDEX IF NOT EXISTS payments_recent_idx ON payments (created_at DESC, payment_id DESC);
CREATE INDEX IF NOT EXISTS payments_status_recent_idx ON payments (status, created_at DESC, payment_id DESC);
CREATE INDEX IF NOT EXISTS payments_user_idx ON payments (user_id, created_at DESC);
CREATE INDEX IF NOT EXISTS payments_open_idx ON payments (check_at)
WHERE status IN ('creating', 'pending', 'waiting_for_capture');
CREATE INDEX IF NOT EXISTS payments_untold_idx ON payments (check_at) WHERE status = 'succeeded' AND told_at IS NULL;

CREATE TABLE IF NOT EXISTS payment_references (
    provider text NOT NULL,
    reference text NOT NULL,
    payment_id uuid NOT NULL,
    CONSTRAINT payment_references_pkey PRIMARY KEY (provider, reference),
    CONSTRAINT payment_references_payment_known FOREIGN KEY (payment_id) REFERENCES payments (payment_id)
);

CREATE INDEX IF NOT EXISTS payment_references_payment_idx ON payment_references (payment_id);

CREATE TABLE IF NOT EXISTS payment_events (
    id bigint GENERATED ALWAYS AS IDENTITY,
    provider text NOT NULL,
    delivery_key text NOT NULL,
    name text NOT NULL,
    reference text,
    body bytea NOT NULL,
    status text NOT NULL DEFAULT 'waiting',
    reason text NOT NULL DEFAULT '',
    payment_id uuid,
    deliveries integer NOT NULL DEFAULT 1,
    attempts integer NOT NULL DEFAULT 0,
    received_at timestamptz NOT NULL DEFAULT now(),
    due_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CONSTRAINT payment_events_pkey PRIMARY KEY (id),
    CONSTRAINT payment_events_delivered_once UNIQUE (provider, delivery_key),
    CONSTRAINT payment_events_status_known CHECK (status IN ('waiting', 'applied', 'ignored', 'review', 'closed')),
    CONSTRAINT payment_events_finished_when CHECK ((finished_at IS NULL) = (status IN ('waiting', 'review')))
);

CREATE INDEX IF NOT EXISTS payment_events_due_idx ON payment_events (due_at) WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS payment_events_waiting_idx ON payment_events (provider, reference)
WHERE status = 'waiting';
CREATE INDEX IF NOT EXISTS payment_events_review_idx ON payment_events (received_at DESC, id DESC)
WHERE status IN ('waiting', 'review');
CREATE INDEX IF NOT EXISTS payment_events_payment_idx ON payment_events (payment_id) WHERE payment_id IS NOT NULL;

CREATE TABLE IF NOT EXISTS payment_refunds (
    refund_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    provider text NOT NULL,
    provider_refund_id text,
    kind text NOT NULL DEFAULT 'refund',
    status text NOT NULL,
    amount numeric(14, 2) NOT NULL,
    amount_rub numeric(14, 2) NOT NULL DEFAULT 0,
    reservation_id uuid,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    checks integer NOT NULL DEFAULT 0,
    check_at timestamptz,
    CONSTRAINT payment_refunds_pkey PRIMARY KEY (refund_id),
    CONSTRAINT payment_refunds_payment_known FOREIGN KEY (payment_id) REFERENCES payments (payment_id),
    CONSTRAINT payment_refunds_provider_refund_once UNIQUE (provider, provider_refund_id),
    CONSTRAINT payment_refunds_kind_known CHECK (kind IN ('refund', 'dispute')),
    CONSTRAINT payment_refunds_status_known CHECK (status IN ('requested', 'pending', 'succeeded', 'failed')),
    CONSTRAINT payment_refunds_amount_positive CHECK (amount > 0 AND amount_rub >= 0)
);

CREATE INDEX IF NOT EXISTS payment_refunds_payment_idx ON payment_refunds (payment_id);
CREATE INDEX IF NOT EXISTS payment_refunds_open_idx ON payment_refunds (check_at)
WHERE status IN ('requested', 'pending');

CREATE OR REPLACE TRIGGER payments_set_updated_at BEFORE UPDATE ON payments
FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER payment_refunds_set_updated_at BEFORE UPDATE ON payment_refunds
FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE OR REPLACE TRIGGER payments_kept BEFORE DELETE OR TRUNCATE ON payments
FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

COMMENT ON TABLE payments IS 'Orders: what a person is to pay, where, and what he gets for it. Never deleted.';
COMMENT ON COLUMN payments.payment_id IS 'Ours; sent to the processor as metadata and as idempotency key.';
COMMENT ON COLUMN payments.user_id IS 'Who pays, and who is credited.';
COMMENT ON COLUMN payments.provider IS 'The processor.';
COMMENT ON COLUMN payments.provider_payment_id IS 'The processor''s id; NULL until it told one.';
COMMENT ON COLUMN payments.status IS 'creating, pending, waiting_for_capture, succeeded, canceled, expired or review.';
COMMENT ON COLUMN payments.amount IS 'What is to be paid, in the currency''s main unit.';
COMMENT ON COLUMN payments.currency IS 'ISO 4217, or XTR for Telegram Stars.';
COMMENT ON COLUMN payments.credit_rub IS 'What the balance gets for it.';
COMMENT ON COLUMN payments.refunded_amount IS 'What went back of the amount, disputes included.';
COMMENT ON COLUMN payments.refunded_rub IS 'What the balance lost for that.';
COMMENT ON COLUMN payments.pack_id IS 'What was bought, by its id in the catalogue.';
COMMENT ON COLUMN payments.pay_url IS 'Where the person pays.';
COMMENT ON COLUMN payments.test IS 'Made with the processor''s test keys.';
COMMENT ON COLUMN payments.created_at IS 'When it was ordered.';
COMMENT ON COLUMN payments.updated_at IS 'When this row changed last; kept by a trigger.';
COMMENT ON COLUMN payments.expires_at IS 'Until when it can be paid.';
COMMENT ON COLUMN payments.settled_at IS 'When the balance was credited.';
COMMENT ON COLUMN payments.told_at IS 'When the person was told that the money arrived.';
COMMENT ON COLUMN payments.checks IS 'How often the processor was asked without news.';
COMMENT ON COLUMN payments.check_at IS 'When to ask the processor, or to tell the person, next.';

COMMENT ON TABLE payment_references IS 'The names under which processors speak of a payment, and whose it is.';
COMMENT ON COLUMN payment_references.provider IS 'The processor.';
COMMENT ON COLUMN payment_references.reference IS 'Its id of a payment, checkout session, intent or charge.';
COMMENT ON COLUMN payment_references.payment_id IS 'The payment that is meant.';

COMMENT ON TABLE payment_events IS 'Everything that processors said, whole, kept before it was acted on.';
COMMENT ON COLUMN payment_events.id IS 'In the order of arrival.';
COMMENT ON COLUMN payment_events.provider IS 'Who said it.';
COMMENT ON COLUMN payment_events.delivery_key IS 'The same for each delivery of the same thing.';
COMMENT ON COLUMN payment_events.name IS 'The processor''s name of the event.';
COMMENT ON COLUMN payment_events.reference IS 'The processor''s first id of the payment that is meant.';
COMMENT ON COLUMN payment_events.body IS 'What came, byte for byte.';
COMMENT ON COLUMN payment_events.status IS 'waiting, applied, ignored, review (for an operator) or closed (by one).';
COMMENT ON COLUMN payment_events.reason IS 'Why it waits, is ignored or is to be reviewed.';
COMMENT ON COLUMN payment_events.payment_id IS 'The payment that it was applied to.';
COMMENT ON COLUMN payment_events.deliveries IS 'How often it came.';
COMMENT ON COLUMN payment_events.attempts IS 'How often recovery tried to apply it.';
COMMENT ON COLUMN payment_events.received_at IS 'When it came first.';
COMMENT ON COLUMN payment_events.due_at IS 'When to try again to apply it.';
COMMENT ON COLUMN payment_events.finished_at IS 'When it was applied, ignored or closed.';

COMMENT ON TABLE payment_refunds IS 'Money given back, and money that a dispute took back.';
COMMENT ON COLUMN payment_refunds.refund_id IS 'Ours; the idempotency key at the processor.';
COMMENT ON COLUMN payment_refunds.payment_id IS 'Of which payment.';
COMMENT ON COLUMN payment_refunds.provider IS 'The processor.';
COMMENT ON COLUMN payment_refunds.provider_refund_id IS 'The processor''s id; NULL until it told one.';
COMMENT ON COLUMN payment_refunds.kind IS 'refund or dispute.';
COMMENT ON COLUMN payment_refunds.status IS 'requested, pending, succeeded, failed (the money came back to us).';
COMMENT ON COLUMN payment_refunds.amount IS 'In the currency of the payment.';
COMMENT ON COLUMN payment_refunds.amount_rub IS 'What the balance lost for it.';
COMMENT ON COLUMN payment_refunds.reservation_id IS 'Holds the roubles of an operator''s refund until it is certain.';
COMMENT ON COLUMN payment_refunds.reason IS 'Why, in the words of whoever asked.';
COMMENT ON COLUMN payment_refunds.created_at IS 'When it was asked for, or first heard of.';
COMMENT ON COLUMN payment_refunds.updated_at IS 'When this row changed last; kept by a trigger.';
COMMENT ON COLUMN payment_refunds.checks IS 'How often the processor was asked without news.';
COMMENT ON COLUMN payment_refunds.check_at IS 'When to ask the processor next.';
