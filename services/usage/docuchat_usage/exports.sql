-- What usage keeps of a tenant, or of one person: one JSON object a row. Money is exact, so it is text.

-- name: usage
-- The ledger: what was used, by whom, what it cost.
SELECT jsonb_build_object('event_id', l.event_id, 'entry', l.entry, 'corrects', l.corrects, 'user_id', l.user_id, 'key_id', l.key_id,
    'visitor_id', l.visitor_id, 'chatbot_id', l.chatbot_id, 'chat_id', l.chat_id, 'turn_id', l.turn_id,
    'document_id', l.document_id, 'kind', l.kind, 'provider', l.provider, 'model', l.model, 'input_tokens', l.input_tokens,
    'output_tokens', l.output_tokens, 'embedding_tokens', l.embedding_tokens, 'estimated', l.estimated, 'cost', l.cost::text,
    'occurred_at', l.occurred_at, 'booked_at', l.booked_at)::text AS row
FROM usage.ledger l
WHERE l.tenant_id = :tenant_id
  AND (:user_id::uuid IS NULL OR l.user_id = :user_id::uuid OR l.key_id = ANY (:subject_ids::uuid[]))
ORDER BY l.id;

-- name: usage_days
-- Sums by the day, which stay longer than the entries.
SELECT jsonb_build_object('day', s.starts_at, 'user_id', s.user_id, 'model', s.model, 'kind', s.kind,
    'input_tokens', s.input_tokens, 'output_tokens', s.output_tokens, 'embedding_tokens', s.embedding_tokens,
    'cost', s.cost::text)::text AS row
FROM usage.sums s
WHERE s.tenant_id = :tenant_id AND s.span = 'day' AND (:user_id::uuid IS NULL OR s.user_id = :user_id::uuid)
ORDER BY s.starts_at, s.model, s.kind;

-- name: quotas
-- Limits, and what is used of them.
SELECT jsonb_build_object('subject_type', b.subject_type, 'subject_id', b.subject_id, 'unit', b.unit,
    'limit', b.amount_limit::text, 'used', b.used::text, 'period_start', nullif(b.period_start, '-infinity'),
    'period_end', nullif(b.period_end, 'infinity'))::text AS row
FROM usage.budgets b
WHERE b.tenant_id = :tenant_id
  AND (:subject_ids::uuid[] IS NULL
       OR (b.subject_type IN ('user', 'key') AND b.subject_id = ANY (:subject_ids::uuid[]::text[])))
ORDER BY b.layer, b.id;
