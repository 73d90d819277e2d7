-- A database as a generation bot leaves it behind: the tables of its own document, with rows, odd ones among them.

CREATE TABLE users (
    user_id BIGINT PRIMARY KEY,
    username TEXT,
    first_name TEXT,
    last_name TEXT,
    created_at TIMESTAMP DEFAULT NOW(),
    updated_at TIMESTAMP DEFAULT NOW()
);

CREATE TABLE balances (
    user_id BIGINT PRIMARY KEY REFERENCES users(user_id),
    balance_rub DECIMAL(10, 2) DEFAULT 0,
    updated_at TIMESTAMP DEFAULT NOW()
);

CREATE TABLE generation_events (
    id SERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users(user_id),
    chat_id BIGINT,
    model_id TEXT NOT NULL,
    category TEXT,
    status TEXT NOT NULL,  -- 'started', 'success', 'failed', 'timeout'
    is_free_applied BOOLEAN DEFAULT FALSE,
    price_rub DECIMAL(10, 2) DEFAULT 0,
    request_id TEXT,
    task_id TEXT,
    error_code TEXT,
    error_message TEXT,
    duration_ms INTEGER,
    created_at TIMESTAMP DEFAULT NOW()
);

CREATE INDEX idx_generation_events_user_id ON generation_events(user_id);
CREATE INDEX idx_generation_events_created_at ON generation_events(created_at DESC);
CREATE INDEX idx_generation_events_status ON generation_events(status);

CREATE TABLE projects (
    id SERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users(user_id),
    name TEXT NOT NULL,
    description TEXT,
    created_at TIMESTAMP DEFAULT NOW(),
    updated_at TIMESTAMP DEFAULT NOW()
);

CREATE TABLE project_history (
    id SERIAL PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    user_id BIGINT NOT NULL REFERENCES users(user_id),
    model_id TEXT NOT NULL,
    inputs JSONB NOT NULL,
    outputs JSONB,
    status TEXT NOT NULL,
    created_at TIMESTAMP DEFAULT NOW()
);

CREATE TABLE referrals (
    id SERIAL PRIMARY KEY,
    referrer_id BIGINT NOT NULL REFERENCES users(user_id),
    referred_id BIGINT NOT NULL REFERENCES users(user_id),
    reward_rub DECIMAL(10, 2) DEFAULT 0,
    created_at TIMESTAMP DEFAULT NOW(),
    UNIQUE(referrer_id, referred_id)
);

CREATE TABLE payment_transactions (
    id SERIAL PRIMARY KEY,
    user_id BIGINT NOT NULL REFERENCES users(user_id),
    amount_rub DECIMAL(10, 2) NOT NULL,
    type TEXT NOT NULL,  -- 'topup', 'deduction', 'refund', 'referral'
    reason TEXT,
    created_at TIMESTAMP DEFAULT NOW()
);

INSERT INTO users (user_id, username, first_name, last_name, created_at, updated_at) VALUES
(7000000001, 'payer', 'Payer', 'One', '2024-03-31 01:30:00.123456', '2025-10-26 02:30:00'),
(7000000002, NULL, 'Друг', NULL, '2024-12-31 23:59:59.999999', '2025-01-01 00:00:00'),
(1003, 'stranger', NULL, NULL, NULL, '2023-05-05 05:05:05'),
(1004, 'operator', 'Operator', NULL, NULL, NULL),
(4503599627370496, NULL, NULL, NULL, '2025-06-01 12:00:00', NULL),
(42, '', repeat('имя ', 1000), repeat('x', 5000), '1999-12-31 00:00:00', '1999-12-31 00:00:00');

INSERT INTO balances (user_id, balance_rub, updated_at) VALUES
(7000000001, 99999999.99, '2025-10-26 02:30:00'),
(7000000002, 0, NULL),
(1003, NULL, NULL),
(1004, -0.01, '2025-01-01 00:00:00');

INSERT INTO generation_events (
    user_id, chat_id, model_id, category, status, is_free_applied, price_rub, error_code, error_message, duration_ms,
    created_at
) VALUES
(7000000001, -1001234567890, 'image-large', 'image', 'success', FALSE, 12.50, NULL, NULL, 8123, '2025-10-01 10:00:00'),
(7000000001, 7000000001, 'image-large', 'image', 'failed', FALSE, 0, 'E_NSFW', repeat('long ', 500), 41, '2025-10-02'),
(7000000002, NULL, 'text-small', NULL, 'timeout', NULL, NULL, NULL, NULL, NULL, NULL),
(42, 42, 'text-small', 'text', 'started', TRUE, 0, NULL, NULL, NULL, '2025-10-03 00:00:00'),
(42, 42, 'text-small', 'text', 'cancelled', TRUE, 0, NULL, NULL, NULL, '2025-10-03 00:00:01');

INSERT INTO projects (user_id, name, description, created_at, updated_at) VALUES
(7000000001, 'Мой проект', NULL, '2025-01-01 00:00:00', NULL),
(7000000001, '', repeat('d', 3000), NULL, NULL);

INSERT INTO project_history (project_id, user_id, model_id, inputs, outputs, status, created_at) VALUES
(1, 7000000001, 'image-large', '{"prompt": "кот"}', NULL, 'failed', '2025-01-02 00:00:00'),
(1, 7000000001, 'image-large', '{}', '{"url": "https://example.org/1.png"}', 'success', NULL);

INSERT INTO referrals (referrer_id, referred_id, reward_rub, created_at) VALUES
(7000000001, 7000000002, 15.00, '2025-01-01 00:00:00'),
(1003, 42, NULL, NULL),
(1003, 1003, 15.00, '2025-01-01 00:00:00'),  -- himself
(1003, 7000000002, 15.00, '2025-01-02 00:00:00'),  -- a second one, later
(1004, 7000000002, 0, '2025-01-01 00:00:00'),  -- a third one, at the same moment, written later
(1004, 7000000001, 0, '2025-03-03 00:00:00'),
(1003, 7000000001, 0, '2025-03-02 00:00:00');  -- written later, and earlier

INSERT INTO payment_transactions (user_id, amount_rub, type, reason, created_at) VALUES
(7000000001, 99999999.99, 'topup', 'bank', '2025-01-01 00:00:00'),
(7000000001, 12.50, 'deduction', NULL, NULL),
(1004, -0.01, 'refund', '', '2025-02-28 00:00:00');
