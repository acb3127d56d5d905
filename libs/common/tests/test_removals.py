"""What becomes of each column that names a user, when the user is removed: a new one asks for a decision."""

from docuchat_testkit.databases import ClonedDatabase

COLUMNS = """
SELECT format('%s.%s.%s', c.table_schema, c.table_name, c.column_name) AS name
FROM information_schema.columns c
JOIN information_schema.tables t USING (table_schema, table_name)
WHERE c.table_schema IN ('auth', 'knowledge', 'chat', 'usage') AND t.table_type = 'BASE TABLE'
  AND (c.column_name ~ '(^|_)(users?|subjects?|owner|member|uploaded|created|invited|requested)(_(id|ids|by))?$'
       OR c.column_name ~ '_owner_id$')
  AND c.column_name NOT IN ('owner', 'is_uploaded')
"""
CASCADES = """
SELECT format('%s.%s.user_id', n.nspname, r.relname) AS name
FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace
WHERE k.contype = 'f' AND k.confrelid = 'auth.users'::regclass AND k.confdeltype = 'c'
"""

TAKEN_AWAY = {
    "knowledge.documents.uploaded_by": "handed over, or deleted with the document",
    "knowledge.collections.created_by": "the heir, or nobody",
    "knowledge.collections.owner_id": "deleted with the files that were attached to messages",
    "knowledge.collection_members.member_id": "deleted",
    "knowledge.exports.user_id": "deleted with the archive",
    "knowledge.idempotent_requests.subject": "deleted",
    "chat.chats.subject_id": "deleted",
    "chat.turns.subject_id": "deleted with the chat",
    "chat.chat_sessions.subject_id": "deleted with the chat",
    "chat.feedback.subject_id": "deleted with the chat",
    "chat.turns.key_owner_id": "deleted with the chat",
    "chat.idempotent_requests.subject": "deleted",
    "usage.budgets.subject_id": "deleted",
    "usage.stored_documents.user_id": "the heir, or nobody",
    "usage.idempotent_requests.subject": "deleted",
    "auth.idempotent_requests.subject": "deleted",
    "auth.federated_identities.subject": "deleted with the user",
}
KEPT = {
    "auth.api_keys.created_by": "who made a key of the tenant's own",
    "auth.chatbots.created_by": "who made a chatbot, which is the tenant's own",
    "auth.invitations.invited_by": "until the invitation ends",
    "auth.audit_entries.subject_id": "who did what, by ids",
    "auth.user_receipts.user_id": "what became of who was erased",
    "auth.revisions.subject": "that tokens are refused, until the last has ended",
    "knowledge.exports.requested_by": "until the tenant's archive is deleted",
    "knowledge.provider_calls.subjects": "who pays, until it is booked: 30 days",
    "chat.provider_calls.subjects": "as above",
    "usage.holds.subject_ids": "who pays, until the hold is forgotten",
    "usage.ledger.user_id": "the books",
    "usage.sums.user_id": "the books",
    **{f"{schema}.removed_users.user_id": "who is gone, for 30 days" for schema in ("knowledge", "chat", "usage")},
}
"""Ids, and no names or addresses."""


async def test_it_is_known_of_each_column_that_names_a_user_what_becomes_of_it(database: ClonedDatabase) -> None:
    async with database.connect() as connection:
        columns = {row["name"] for row in await connection.fetch(COLUMNS)}
        cascades = {row["name"] for row in await connection.fetch(CASCADES)}
    assert "auth.refresh_tokens.user_id" in cascades
    assert columns - cascades == TAKEN_AWAY.keys() | KEPT.keys()
