"""Plans, budgets, holds, the ledger and prices."""

from alembic import op

from docuchat_common.db.ddl import forward_only, inbox_ddl, outbox_ddl, tenant_policy_ddl

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APP = "docuchat_usage"
SYSTEM = "docuchat_usage_system"

TABLES = """
CREATE TABLE usage.plans (
    code text PRIMARY KEY,
    token_limit bigint CONSTRAINT plans_token_limit_not_negative CHECK (token_limit >= 0),
    cost_limit numeric(20, 12) CONSTRAINT plans_cost_limit_not_negative CHECK (cost_limit >= 0),
    user_token_limit bigint CONSTRAINT plans_user_token_limit_not_negative CHECK (user_token_limit >= 0),
    user_cost_limit numeric(20, 12) CONSTRAINT plans_user_cost_limit_not_negative CHECK (user_cost_limit >= 0),
    is_default boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX plans_one_default ON usage.plans (is_default) WHERE is_default;
COMMENT ON TABLE usage.plans IS 'What a month includes. NULL means no limit. Costs are in USD.';
INSERT INTO usage.plans (code, token_limit, cost_limit, is_default)
VALUES ('standard', 50000000, 250, true), ('unlimited', NULL, NULL, false);

CREATE TABLE usage.subscriptions (
    tenant_id bigint PRIMARY KEY,
    plan_code text NOT NULL REFERENCES usage.plans (code),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE usage.subscriptions IS 'The plan of a tenant; a tenant that was never announced gets the default plan at its first use.';

CREATE TABLE usage.budgets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL,
    subject_type text NOT NULL CONSTRAINT budgets_subject_type_known CHECK (subject_type IN ('tenant', 'chatbot', 'key', 'user')),
    subject_id text NOT NULL,
    layer smallint NOT NULL GENERATED ALWAYS AS
        (CASE subject_type WHEN 'tenant' THEN 0 WHEN 'chatbot' THEN 1 WHEN 'key' THEN 2 ELSE 3 END) STORED,
    token_limit bigint CONSTRAINT budgets_token_limit_not_negative CHECK (token_limit >= 0),
    cost_limit numeric(20, 12) CONSTRAINT budgets_cost_limit_not_negative CHECK (cost_limit >= 0),
    tokens_used bigint NOT NULL DEFAULT 0 CONSTRAINT budgets_tokens_used_not_negative CHECK (tokens_used >= 0),
    tokens_held bigint NOT NULL DEFAULT 0 CONSTRAINT budgets_tokens_held_not_negative CHECK (tokens_held >= 0),
    cost_used numeric(20, 12) NOT NULL DEFAULT 0 CONSTRAINT budgets_cost_used_not_negative CHECK (cost_used >= 0),
    cost_held numeric(20, 12) NOT NULL DEFAULT 0 CONSTRAINT budgets_cost_held_not_negative CHECK (cost_held >= 0),
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    tokens_notified smallint NOT NULL DEFAULT 0,
    cost_notified smallint NOT NULL DEFAULT 0,
    refusal_announced_at timestamptz,
    generation integer NOT NULL DEFAULT 0,
    CONSTRAINT budgets_subject_unique UNIQUE (tenant_id, subject_type, subject_id),
    CONSTRAINT budgets_period_ordered CHECK (period_start < period_end)
) WITH (fillfactor = 70);
COMMENT ON TABLE usage.budgets IS
    'Counters of one subject in its current period; row locks are taken in the order (tenant_id, layer, id), the tenant first.';
COMMENT ON COLUMN usage.budgets.generation IS
    'On the tenant''s row: grows with each budget added below it, so that a statement which waited for the lock can see that '
    'its snapshot misses one.';

CREATE TABLE usage.prices (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    model text NOT NULL,
    input numeric(14, 6) NOT NULL CONSTRAINT prices_input_not_negative CHECK (input >= 0),
    output numeric(14, 6) NOT NULL CONSTRAINT prices_output_not_negative CHECK (output >= 0),
    embedding numeric(14, 6) NOT NULL CONSTRAINT prices_embedding_not_negative CHECK (embedding >= 0),
    valid_from timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT prices_version_unique UNIQUE (provider, model, valid_from)
);
COMMENT ON TABLE usage.prices IS
    'USD per million tokens. A row is never changed: a new price is a new row with a later valid_from. provider * is any '
    'provider, a model that ends in * is a prefix, and (*, *) is the price of models that nobody priced.';

CREATE TABLE usage.holds (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    user_id uuid,
    chatbot_id uuid,
    key_id uuid,
    kind text NOT NULL CONSTRAINT holds_kind_known CHECK (kind IN ('chat', 'embedding')),
    model text NOT NULL,
    input_tokens bigint NOT NULL CONSTRAINT holds_input_tokens_not_negative CHECK (input_tokens >= 0),
    tokens bigint NOT NULL CONSTRAINT holds_tokens_not_negative CHECK (tokens >= 0),
    cost numeric(20, 12) NOT NULL CONSTRAINT holds_cost_not_negative CHECK (cost >= 0),
    price_id bigint REFERENCES usage.prices (id),
    budget_ids bigint[] NOT NULL,
    state text NOT NULL DEFAULT 'held' CONSTRAINT holds_state_known CHECK (state IN ('held', 'settled', 'expired', 'released')),
    settled_event uuid,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    closed_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX holds_open_by_tenant ON usage.holds (tenant_id, expires_at) WHERE state = 'held';
CREATE INDEX holds_open_by_expiry ON usage.holds (expires_at) WHERE state = 'held';
CREATE INDEX holds_closed ON usage.holds (closed_at) WHERE state <> 'held';
COMMENT ON TABLE usage.holds IS 'Tokens and money set aside for one call; budget_ids are the budgets that count it while it is held.';

CREATE TABLE usage.ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL,
    event_id uuid NOT NULL CONSTRAINT ledger_event_unique UNIQUE,
    hold_id uuid,
    user_id uuid,
    chatbot_id uuid,
    chat_id uuid,
    turn_id uuid,
    document_id uuid,
    kind text NOT NULL CONSTRAINT ledger_kind_known CHECK (kind IN ('chat', 'embedding')),
    provider text NOT NULL,
    model text NOT NULL,
    input_tokens bigint NOT NULL CONSTRAINT ledger_input_tokens_not_negative CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL CONSTRAINT ledger_output_tokens_not_negative CHECK (output_tokens >= 0),
    embedding_tokens bigint NOT NULL CONSTRAINT ledger_embedding_tokens_not_negative CHECK (embedding_tokens >= 0),
    estimated boolean NOT NULL,
    cost numeric(20, 12) NOT NULL CONSTRAINT ledger_cost_not_negative CHECK (cost >= 0),
    price_id bigint REFERENCES usage.prices (id),
    occurred_at timestamptz NOT NULL,
    booked_at timestamptz NOT NULL
);
CREATE INDEX ledger_by_time ON usage.ledger (tenant_id, occurred_at)
    INCLUDE (user_id, model, input_tokens, output_tokens, embedding_tokens, cost);
CREATE INDEX ledger_by_user ON usage.ledger (tenant_id, user_id, occurred_at) WHERE user_id IS NOT NULL;
COMMENT ON TABLE usage.ledger IS 'One entry for each call of a provider, only ever added to; cost is in USD, by the price version of price_id.';
"""

# USD per million tokens, from the providers' public lists; operators add versions with `set-price`.
PRICES = """
INSERT INTO usage.prices (provider, model, input, output, embedding, valid_from)
SELECT provider, model, input, output, embedding, timestamptz '2020-01-01 00:00:00Z'
FROM (VALUES
    ('*', '*', 1.00, 3.00, 0.10),
    ('*', 'gpt-4o-mini*', 0.15, 0.60, 0.15),
    ('*', 'gpt-4o*', 2.50, 10.00, 2.50),
    ('*', 'gpt-4.1*', 2.00, 8.00, 2.00),
    ('*', 'gpt-4.1-mini*', 0.40, 1.60, 0.40),
    ('*', 'gpt-4.1-nano*', 0.10, 0.40, 0.10),
    ('*', 'gpt-4-turbo*', 10.00, 30.00, 10.00),
    ('*', 'gpt-3.5-turbo*', 0.50, 1.50, 0.50),
    ('*', 'gpt-5*', 1.25, 10.00, 1.25),
    ('*', 'gpt-5-mini*', 0.25, 2.00, 0.25),
    ('*', 'gpt-5-nano*', 0.05, 0.40, 0.05),
    ('*', 'o3*', 2.00, 8.00, 2.00),
    ('*', 'o4-mini*', 1.10, 4.40, 1.10),
    ('*', 'text-embedding-3-small', 0.02, 0.00, 0.02),
    ('*', 'text-embedding-3-large', 0.13, 0.00, 0.13),
    ('*', 'text-embedding-ada-002', 0.10, 0.00, 0.10),
    ('*', 'wordllama*', 0.00, 0.00, 0.00),
    ('*', 'extractive*', 0.00, 0.00, 0.00),
    ('local', '*', 0.00, 0.00, 0.00),
    ('wordllama', '*', 0.00, 0.00, 0.00),
    ('extractive', '*', 0.00, 0.00, 0.00)
) AS list (provider, model, input, output, embedding);
"""

GRANTS = """
GRANT USAGE ON SCHEMA usage TO docuchat_usage, docuchat_usage_system;
GRANT SELECT ON usage.plans, usage.prices TO docuchat_usage, docuchat_usage_system;
GRANT SELECT, INSERT ON usage.subscriptions, usage.ledger TO docuchat_usage;
GRANT SELECT, INSERT, UPDATE ON usage.budgets, usage.holds TO docuchat_usage;
GRANT INSERT ON usage.prices TO docuchat_usage_system;
GRANT SELECT, UPDATE ON usage.budgets TO docuchat_usage_system;
GRANT SELECT, UPDATE, DELETE ON usage.holds TO docuchat_usage_system;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(PRICES)
    op.execute(GRANTS)
    for table in ("subscriptions", "budgets", "holds", "ledger"):
        op.execute(tenant_policy_ddl("usage." + table, app_roles=(APP,), system_roles=(SYSTEM,)))
    op.execute(outbox_ddl("usage", app_roles=(APP,), system_roles=(SYSTEM,)))
    op.execute(inbox_ddl("usage", roles=(APP,), system_roles=(SYSTEM,)))


downgrade = forward_only
