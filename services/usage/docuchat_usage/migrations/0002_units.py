"""Budgets by unit, holds of any unit, corrections, stored documents, sums; what counts is a function with a version.

Open holds are given back: a lease does not outlive a migration, and what their calls use is booked all the same.
"""

from pathlib import Path

from alembic import op

from docuchat_common.db.ddl import forward_only, tenant_policy_ddl

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APP = "docuchat_usage"
SYSTEM = "docuchat_usage_system"

# in this order: later ones call earlier ones
FUNCTIONS = ("accounts", "hold", "renew", "release", "expire", "set_limits", "correct", "book", "store_document")

# Row-level security binds the owner too: lifted while rows are copied.
LIFT = """
ALTER TABLE usage.budgets NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage.ledger NO FORCE ROW LEVEL SECURITY;
ALTER TABLE usage.subscriptions NO FORCE ROW LEVEL SECURITY;
"""

PLANS = """
CREATE TABLE usage.units (
    name text PRIMARY KEY,
    is_standing boolean NOT NULL
);
COMMENT ON TABLE usage.units IS
    'What budgets count. A standing amount is what is there now; the others are used up in a period and begin again.';
INSERT INTO usage.units (name, is_standing)
VALUES ('tokens', false), ('cost', false), ('messages', false), ('requests', false),
       ('documents', true), ('pages', true), ('bytes', true);

CREATE TABLE usage.plan_limits (
    plan_code text NOT NULL REFERENCES usage.plans (code),
    subject_type text NOT NULL CONSTRAINT plan_limits_subject_type_known
        CHECK (subject_type IN ('tenant', 'chatbot', 'key', 'user', 'visitor')),
    unit text NOT NULL REFERENCES usage.units (name),
    amount numeric(36, 12) NOT NULL CONSTRAINT plan_limits_amount_not_negative CHECK (amount >= 0),
    PRIMARY KEY (plan_code, subject_type, unit)
);
COMMENT ON TABLE usage.plan_limits IS 'What a plan gives to a tenant, and to each subject of a type in it; no row means no limit.';
INSERT INTO usage.plan_limits (plan_code, subject_type, unit, amount)
SELECT p.code, l.subject_type, l.unit, l.amount
FROM usage.plans p
CROSS JOIN LATERAL (VALUES
    ('tenant', 'tokens', p.token_limit::numeric), ('tenant', 'cost', p.cost_limit),
    ('user', 'tokens', p.user_token_limit::numeric), ('user', 'cost', p.user_cost_limit)) AS l (subject_type, unit, amount)
WHERE l.amount IS NOT NULL;
INSERT INTO usage.plan_limits (plan_code, subject_type, unit, amount)
VALUES ('standard', 'tenant', 'documents', 10000), ('standard', 'tenant', 'pages', 100000),
       ('standard', 'tenant', 'bytes', 10000000000);
ALTER TABLE usage.plans DROP COLUMN token_limit, DROP COLUMN cost_limit, DROP COLUMN user_token_limit, DROP COLUMN user_cost_limit;
"""

BUDGETS = """
CREATE TEMPORARY TABLE budgets_before ON COMMIT DROP AS SELECT * FROM usage.budgets;
DROP TABLE usage.budgets;
CREATE TABLE usage.budgets (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id bigint NOT NULL,
    subject_type text NOT NULL CONSTRAINT budgets_subject_type_known
        CHECK (subject_type IN ('tenant', 'chatbot', 'key', 'user', 'visitor')),
    subject_id text NOT NULL,
    unit text NOT NULL REFERENCES usage.units (name),
    layer smallint NOT NULL GENERATED ALWAYS AS
        (CASE subject_type WHEN 'tenant' THEN 0 WHEN 'chatbot' THEN 1 WHEN 'key' THEN 2 WHEN 'user' THEN 3 ELSE 4 END) STORED,
    amount_limit numeric(36, 12) CONSTRAINT budgets_limit_not_negative CHECK (amount_limit >= 0),
    used numeric(36, 12) NOT NULL DEFAULT 0 CONSTRAINT budgets_used_not_negative CHECK (used >= 0),
    held numeric(36, 12) NOT NULL DEFAULT 0 CONSTRAINT budgets_held_not_negative CHECK (held >= 0),
    period_start timestamptz NOT NULL,
    period_end timestamptz NOT NULL,
    notified smallint NOT NULL DEFAULT 0,
    refusal_announced_at timestamptz,
    CONSTRAINT budgets_subject_unique UNIQUE (tenant_id, subject_type, subject_id, unit),
    CONSTRAINT budgets_period_ordered CHECK (period_start < period_end)
) WITH (fillfactor = 50);
COMMENT ON TABLE usage.budgets IS
    'One unit of one subject. Whoever counts takes the tenant''s row of tokens first. Standing amounts have an endless period.';
INSERT INTO usage.budgets (tenant_id, subject_type, subject_id, unit, amount_limit, used, period_start, period_end, notified)
SELECT b.tenant_id, b.subject_type, b.subject_id, u.unit, u.amount_limit, u.used, b.period_start, b.period_end, u.notified
FROM budgets_before b
CROSS JOIN LATERAL (VALUES
    ('tokens', b.token_limit::numeric, b.tokens_used::numeric, b.tokens_notified),
    ('cost', b.cost_limit, b.cost_used, b.cost_notified)) AS u (unit, amount_limit, used, notified)
WHERE b.subject_type = 'tenant' OR u.amount_limit IS NOT NULL;
INSERT INTO usage.budgets (tenant_id, subject_type, subject_id, unit, amount_limit, period_start, period_end)
SELECT b.tenant_id, 'tenant', b.tenant_id::text, u.name, l.amount,
       CASE WHEN u.is_standing THEN '-infinity' ELSE b.period_start END,
       CASE WHEN u.is_standing THEN 'infinity' ELSE b.period_end END
FROM budgets_before b
JOIN usage.subscriptions s ON s.tenant_id = b.tenant_id
CROSS JOIN usage.units u
LEFT JOIN usage.plan_limits l ON l.plan_code = s.plan_code AND l.subject_type = 'tenant' AND l.unit = u.name
WHERE b.subject_type = 'tenant' AND u.name NOT IN ('tokens', 'cost');
"""

HOLDS = """
DROP TABLE usage.holds;
CREATE TABLE usage.holds (
    id uuid PRIMARY KEY,
    tenant_id bigint NOT NULL,
    subject_types text[] NOT NULL,
    subject_ids text[] NOT NULL,
    kind text NOT NULL CONSTRAINT holds_kind_known CHECK (kind IN ('chat', 'embedding', 'upload')),
    provider text,
    model text,
    input_tokens bigint NOT NULL CONSTRAINT holds_input_tokens_not_negative CHECK (input_tokens >= 0),
    units text[] NOT NULL,
    amounts numeric[] NOT NULL,
    price_id bigint REFERENCES usage.prices (id),
    budget_ids bigint[] NOT NULL,
    state text NOT NULL DEFAULT 'held' CONSTRAINT holds_state_known CHECK (state IN ('held', 'settled', 'expired', 'released')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    closed_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX holds_open_by_tenant ON usage.holds (tenant_id, expires_at) WHERE state = 'held';
CREATE INDEX holds_open_by_expiry ON usage.holds (expires_at) WHERE state = 'held';
CREATE INDEX holds_closed ON usage.holds (closed_at) WHERE state <> 'held';
COMMENT ON TABLE usage.holds IS 'Amounts set aside for one action; budget_ids are the budgets that count them while it is held.';
"""

LEDGER = """
ALTER TABLE usage.ledger
    ADD COLUMN entry text NOT NULL DEFAULT 'usage' CONSTRAINT ledger_entry_known CHECK (entry IN ('usage', 'correction')),
    ADD COLUMN corrects uuid,
    ADD COLUMN key_id uuid,
    ADD COLUMN visitor_id uuid,
    DROP CONSTRAINT ledger_input_tokens_not_negative,
    DROP CONSTRAINT ledger_output_tokens_not_negative,
    DROP CONSTRAINT ledger_embedding_tokens_not_negative,
    DROP CONSTRAINT ledger_cost_not_negative,
    ADD CONSTRAINT ledger_usage_not_negative CHECK (
        entry = 'correction' OR input_tokens >= 0 AND output_tokens >= 0 AND embedding_tokens >= 0 AND cost >= 0),
    ADD CONSTRAINT ledger_correction_names_its_entry CHECK ((entry = 'correction') = (corrects IS NOT NULL));
CREATE INDEX ledger_corrections ON usage.ledger (corrects) WHERE corrects IS NOT NULL;
CREATE INDEX ledger_by_booking ON usage.ledger USING brin (booked_at);
DROP INDEX usage.ledger_by_user;
COMMENT ON TABLE usage.ledger IS
    'One entry for each call of a provider, and one for each correction; only ever added to. Cost is in USD, by the price '
    'version of price_id.';

CREATE TABLE usage.sums (
    tenant_id bigint NOT NULL,
    span text NOT NULL CONSTRAINT sums_span_known CHECK (span IN ('hour', 'day')),
    starts_at timestamptz NOT NULL,
    user_id uuid,
    model text NOT NULL,
    kind text NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    embedding_tokens bigint NOT NULL,
    cost numeric(36, 12) NOT NULL,
    CONSTRAINT sums_unique UNIQUE NULLS NOT DISTINCT (tenant_id, span, starts_at, user_id, model, kind)
) WITH (fillfactor = 70);
COMMENT ON TABLE usage.sums IS
    'Sums of the ledger by hour and by day (UTC), written with each booking. Hours are kept for the windows of a week, days for good.';
INSERT INTO usage.sums (tenant_id, span, starts_at, user_id, model, kind, input_tokens, output_tokens, embedding_tokens, cost)
SELECT l.tenant_id, s.span, date_trunc(s.span, l.occurred_at, 'UTC'), l.user_id, l.model, l.kind,
       sum(l.input_tokens), sum(l.output_tokens), sum(l.embedding_tokens), sum(l.cost)
FROM usage.ledger l CROSS JOIN (VALUES ('hour'), ('day')) AS s (span)
GROUP BY 1, 2, 3, 4, 5, 6;

CREATE TABLE usage.stored_documents (
    tenant_id bigint NOT NULL,
    document_id uuid NOT NULL,
    user_id uuid,
    bytes bigint NOT NULL DEFAULT 0,
    pages bigint NOT NULL DEFAULT 0,
    generation bigint NOT NULL DEFAULT 0,
    is_uploaded boolean NOT NULL DEFAULT false,
    is_deleted boolean NOT NULL DEFAULT false,
    seen_at timestamptz NOT NULL,
    CONSTRAINT stored_documents_pkey PRIMARY KEY (tenant_id, document_id)
) WITH (fillfactor = 80);
CREATE INDEX stored_documents_deleted ON usage.stored_documents (seen_at) WHERE is_deleted;
COMMENT ON TABLE usage.stored_documents IS
    'What counts of each document, from its events in any order; it counts while it is uploaded and not deleted.';
"""

GRANTS = """
GRANT SELECT ON usage.units, usage.plan_limits TO docuchat_usage, docuchat_usage_system;
GRANT SELECT, INSERT, UPDATE ON usage.budgets, usage.holds, usage.sums, usage.stored_documents TO docuchat_usage;
GRANT SELECT, INSERT ON usage.subscriptions TO docuchat_usage_system;
GRANT SELECT, INSERT, DELETE ON usage.ledger TO docuchat_usage_system;
GRANT SELECT, INSERT, UPDATE ON usage.budgets TO docuchat_usage_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage.sums, usage.stored_documents TO docuchat_usage_system;
GRANT SELECT, UPDATE, DELETE ON usage.holds TO docuchat_usage_system;
"""


def upgrade() -> None:
    for step in (LIFT, PLANS, BUDGETS, HOLDS, LEDGER, GRANTS):
        op.execute(step)
    for table in ("budgets", "holds", "sums", "stored_documents"):
        op.execute(tenant_policy_ddl("usage." + table, app_roles=(APP,), system_roles=(SYSTEM,)))
    for table in ("subscriptions", "ledger"):
        op.execute(f"ALTER TABLE usage.{table} FORCE ROW LEVEL SECURITY")
    for name in FUNCTIONS:
        op.execute((Path(__file__).parent / "sql" / f"{name}_v1.sql").read_text())


downgrade = forward_only
