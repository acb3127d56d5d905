"""Calls of the client that together reach the whole public surface, with all that each operation can be told."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from docuchat_client import AsyncDocuChat
from docuchat_client.chat_models import OpenedChatSession
from docuchat_client.operators import OperatorClient
from docuchat_client.people import audit_filter

from .conftest import CHAT, DOCUMENT, NOW

Call = Callable[[AsyncDocuChat], Any]
PUBLISHABLE = f"pub_{uuid.UUID(CHAT).hex}"
SAID = {
    "description": "d", "system_prompt": "p", "collections": [CHAT], "model": "m", "temperature": 0.5, "top_k": 3,
    "fallback_model": "f",
    "greeting": "g", "suggested_questions": ["q"], "language": "fa", "nothing_found": "n", "origins": ["https://a.b"],
    "demo_messages": 5, "tokens_per_month": 7, "tokens_per_visitor": 6, "colours": {"accent": "#1a73e8"},
    "answer_policy": {"own_knowledge": True, "citations_required": False, "refused_subjects": ["war"]},
}  # fmt: skip
OPENED = OpenedChatSession.model_validate(
    {"id": CHAT, "chat_id": CHAT, "user_id": CHAT, "is_active": True, "created_at": NOW, "last_activity": NOW}
    | {"session_token": "s"}
)
ABOUT_CHATS: list[Call] = [
    lambda c: c.chatbots(q="help"),
    lambda c: c.chatbot(CHAT),
    lambda c: c.create_chatbot("Help", SAID, publish=True),
    lambda c: c.change_chatbot(CHAT, {**SAID, "name": "Help"}, revision=3),
    lambda c: c.delete_chatbot(CHAT),
    lambda c: c.publish_chatbot(CHAT, revision=3),
    lambda c: c.unpublish_chatbot(CHAT),
    lambda c: c.chatbot_versions(CHAT),
    lambda c: c.chatbot_version(CHAT, "draft"),
    lambda c: c.chatbot_changes(CHAT, 2, since=1),
    lambda c: c.restore_chatbot(CHAT, 1),
    lambda c: c.rotate_chatbot_key(CHAT, overlap_seconds=60),
    lambda c: c.chatbot_snippet(CHAT),
    lambda c: c.shown_chatbot(PUBLISHABLE),
    lambda c: c.visitor_token(PUBLISHABLE, "https://a.b", visitor_token="v"),
    lambda c: c.public_chat("s", limit=5, cursor="c"),
    lambda c: c.chatbot_conversations(CHAT),
    lambda c: c.chatbot_conversation(CHAT, CHAT, limit=5, cursor="c"),
    lambda c: c.chatbot_insights(CHAT, days=7),
    lambda c: c.upload_to_chatbot(CHAT, b"%PDF", title="t"),
    lambda c: c.attach(b"%PDF", title="t"),
    lambda c: c.ask("q", chatbot_id=CHAT, attachments=[uuid.UUID(CHAT)], parent_id=CHAT),
    lambda c: c.begin("q", chatbot_id=CHAT),
    lambda c: c.stream("q", chatbot_id=CHAT, attachments=[CHAT], parent_id=CHAT, channel="sse"),
    lambda c: c.regenerate(CHAT, model="m"),
    lambda c: c.begin_regenerated(CHAT),
    lambda c: c.stream_regenerated(CHAT),
    lambda c: c.edit_message(CHAT, "other words", model="m"),
    lambda c: c.begin_edited(CHAT, "other words"),
    lambda c: c.stream_edited(CHAT, "other words"),
    lambda c: c.query_chatbot(CHAT, "q", session_id="s", version="draft"),
    lambda c: c.stream_chatbot(CHAT, "q", version=2),
    lambda c: c.query_public(PUBLISHABLE, "q", session_id=7),
    lambda c: c.stream_public(PUBLISHABLE, "q"),
    lambda c: c.chats(q="w", archived=True, pinned=False, chatbot_id=CHAT, limit=5, cursor="c"),
    lambda c: c.chat(CHAT, limit=5, cursor="c", branches=True),
    lambda c: c.pin_chat(CHAT),
    lambda c: c.archive_chat(CHAT, archived=False),
    lambda c: c.show_branch(CHAT, CHAT),
    lambda c: c.export_chat(CHAT, io.BytesIO(), "json"),
    lambda c: c.messages(CHAT, limit=5, cursor="c", branches=True),
    lambda c: c.rate(CHAT, "down", reason="outdated", text="t"),
    lambda c: c.withdraw_rating(CHAT),
    lambda c: c.share_chat(CHAT, "link", expires_in_seconds=600),
    lambda c: c.shares(CHAT),
    lambda c: c.revoke_share(CHAT, CHAT),
    lambda c: c.shared_chat("t", limit=5, cursor="c"),
    lambda c: c.chat_sessions(CHAT),
    lambda c: c.open_chat_session(CHAT),
    lambda c: c.keep_chat_session(OPENED),
    lambda c: c.end_chat_session(OPENED),
    lambda c: c.events_ticket(),
]

_MOMENT = datetime(2026, 11, 20, tzinfo=UTC)
_MODELS = ["small", {"name": "large", "input": "0.1", "output": 1, "embedding": 0, "context_window": 8192}]
_LIMITS = ("tokens", "cost", "messages", "requests", "documents", "pages", "bytes")
_WANTED = audit_filter(actor=CHAT, action="a.b", about="user", since=_MOMENT, until=_MOMENT)

_IDENTITY: dict[str, Any] = {
    "client_secret": "s", "active": True,
    "scopes": ["email"], "groups_claim": "groups", "links_owners": True,
    "jit": {"enabled": True, "default_role": "member", "domains": ["a.b"]},
    "group_mappings": [{"value": "v", "group_id": CHAT, "role": "member"}],
}  # fmt: skip

ABOUT_DOCUMENTS: list[Call] = [
    lambda c: c.upload(b"%PDF", title="t", collection_id=CHAT),
    lambda c: c.documents(limit=5, cursor="c", status="ready", q="w", collection_id=CHAT),
    lambda c: c.document(DOCUMENT),
    lambda c: c.watch(DOCUMENT),
    lambda c: c.download(DOCUMENT, io.BytesIO()),
    lambda c: c.document_text(DOCUMENT, 2),
    lambda c: c.passage(DOCUMENT, neighbours=2),
    lambda c: c.retry_document(DOCUMENT),
    lambda c: c.delete_document(DOCUMENT),
    lambda c: c.search("w", limit=3, document_id=DOCUMENT),
    lambda c: c.collections(),
    lambda c: c.collection(CHAT),
    lambda c: c.create_collection("n", "restricted"),
    lambda c: c.change_collection(CHAT, name="n", visibility="tenant"),
    lambda c: c.delete_collection(CHAT, with_documents=True),
    lambda c: c.collection_members(CHAT),
    lambda c: c.put_collection_member(CHAT, CHAT, "read"),
    lambda c: c.remove_collection_member(CHAT, CHAT),
    lambda c: c.ask("q", model="m", document_ids=[DOCUMENT], collection_id=CHAT, chat_id=CHAT, session_id=7),
    lambda c: c.resume(CHAT, channel="sse"),
    lambda c: c.stop(CHAT),
    lambda c: c.create_chat("t"),
    lambda c: c.rename_chat(CHAT, "t"),
    lambda c: c.delete_chat(CHAT),
    lambda c: c.add_message(CHAT, "words", {"a": 1}),
    lambda c: c.events(),
]
ABOUT_MODELS: list[Call] = [
    lambda c: c.models(),
    lambda c: c.model("m"),
    lambda c: c.embed(["w"], model="m", input_type="query", dimensions=2),
    lambda c: c.model_providers(),
    lambda c: c.model_provider(CHAT),
    lambda c: c.add_model_provider(
        "n", "https://a.b/v1", api_key="k", models=_MODELS, auth="api-key", query={"api-version": "1"}, enabled=False
    ),
    lambda c: c.change_model_provider(
        CHAT, base_url="https://a.b", api_key="k", models=_MODELS, auth="bearer", query={}, enabled=True, revision=2
    ),
    lambda c: c.remove_model_provider(CHAT),
    lambda c: c.check_model_provider(CHAT),
]
ABOUT_PEOPLE: list[Call] = [
    lambda c: c.me(),
    lambda c: c.change_me("n"),
    lambda c: c.own_identities(),
    lambda c: c.cut_own_identity(CHAT),
    lambda c: c.passkeys(),
    lambda c: c.remove_passkey(CHAT),
    lambda c: c.verify_email("123456", challenge="c"),
    lambda c: c.request_verification(),
    lambda c: c.set_password("p", current="o"),
    lambda c: c.forgot_password("a@example.com"),
    lambda c: c.reset_password("a@example.com", "123456", "p", challenge="c"),
    lambda c: c.second_factor(),
    lambda c: c.begin_totp(),
    lambda c: c.confirm_totp("123456"),
    lambda c: c.renew_recovery_codes(),
    lambda c: c.remove_totp(),
    lambda c: c.sessions(),
    lambda c: c.end_session(CHAT),
    lambda c: c.end_other_sessions(),
    lambda c: c.api_keys(),
    lambda c: c.create_api_key(
        "n", ["chats.use"], expires_at=_MOMENT, addresses=["10.0.0.0/8"], service=True, role="member"
    ),
    lambda c: c.rotate_api_key(CHAT, overlap_seconds=60),
    lambda c: c.revoke_api_key(CHAT),
    lambda c: c.users(role="member", active=True),
    lambda c: c.find_user("a@example.com"),
    lambda c: c.change_user(CHAT, role="admin", active=True),
    lambda c: c.remove_user(CHAT, hand_over_to=CHAT),
    lambda c: c.erase_user(CHAT, hand_over_to=CHAT),
    lambda c: c.erasure_receipt(CHAT),
    lambda c: c.reset_second_factor(CHAT),
    lambda c: c.identities(CHAT),
    lambda c: c.cut_identity(CHAT, CHAT),
    lambda c: c.invite("a@example.com", "viewer"),
    lambda c: c.invitations(),
    lambda c: c.resend_invitation(CHAT),
    lambda c: c.revoke_invitation(CHAT),
    lambda c: c.groups(),
    lambda c: c.group(CHAT),
    lambda c: c.create_group("n"),
    lambda c: c.rename_group(CHAT, "n"),
    lambda c: c.delete_group(CHAT),
    lambda c: c.group_members(CHAT),
    lambda c: c.add_group_member(CHAT, CHAT),
    lambda c: c.remove_group_member(CHAT, CHAT),
    lambda c: c.audit(_WANTED, limit=5, cursor="c"),
]
ABOUT_TENANT: list[Call] = [
    lambda c: c.usage(),
    lambda c: c.export_tenant(),
    lambda c: c.export_user(CHAT),
    lambda c: c.exports(),
    lambda c: c.export(CHAT),
    lambda c: c.download_export(CHAT, io.BytesIO()),
    lambda c: c.tenant_settings(),
    lambda c: c.change_tenant(
        name="n",
        signup="domains",
        domains=["a.b"],
        retention={"chats_days": 30, "documents_days": None},
        require_second_factor=True,
    ),
    lambda c: c.delete_tenant("demo"),
    lambda c: c.restore_tenant(),
    lambda c: c.domains(),
    lambda c: c.add_domain("a.b"),
    lambda c: c.verify_domain(CHAT),
    lambda c: c.delete_domain(CHAT),
    lambda c: c.identity_providers(),
    lambda c: c.identity_provider(CHAT),
    lambda c: c.add_identity_provider("n", "https://a.b", "id", _IDENTITY),
    lambda c: c.change_identity_provider(CHAT, _IDENTITY | {"name": "n", "client_id": "id"}),
    lambda c: c.remove_identity_provider(CHAT),
]
SIGNING_IN: list[Call] = [
    lambda c: c.request_code("a@example.com"),
    lambda c: c.verify_code("a@example.com", "123456", challenge="c", otp="123456"),
    lambda c: c.login_with_password("a@example.com", "p", otp="123456"),
    lambda c: c.register("ann", "p", name="Ann", organization="Acme", code="123456", challenge="c"),
    lambda c: c.register("a@example.com", "p"),
    lambda c: c.accept_invitation("t", name="n", password="p"),
    lambda c: c.logout(),
]
CALLS = ABOUT_CHATS + ABOUT_DOCUMENTS + ABOUT_MODELS + ABOUT_PEOPLE + ABOUT_TENANT + SIGNING_IN

BY_OPENAI: list[Call] = [
    lambda c: c.models.list(),
    lambda c: c.chat.completions.create(model="m", messages=[{"role": "user", "content": "q"}]),
    lambda c: c.responses.create(model="m", input="q"),
    lambda c: c.responses.retrieve("resp_1"),
    lambda c: c.responses.cancel("resp_1"),
    lambda c: c.responses.delete("resp_1"),
    lambda c: c.responses.input_items.list("resp_1"),
    lambda c: c.files.create(file=("a.pdf", b"%PDF"), purpose="assistants"),
    lambda c: c.files.retrieve(f"file-{DOCUMENT}"),
    lambda c: c.files.content(f"file-{DOCUMENT}"),
    lambda c: c.files.delete(f"file-{DOCUMENT}"),
]
"""What the client of `AsyncDocuChat.openai()` is for."""

OPERATING: list[Callable[[OperatorClient], Any]] = [
    lambda o: o.create_tenant("acme", "Acme", "a@example.com", signup="domains", domains=["a.b"]),
    lambda o: o.tenants(),
    lambda o: o.users("acme", email="a@example.com", user_id=CHAT),
    lambda o: o.set_signup("acme", "domains", ["a.b"]),
    lambda o: o.set_suspended("acme", is_suspended=True),
    lambda o: o.release_domain("acme", "a.b"),
    lambda o: o.delete_tenant("text"),
    lambda o: o.restore_tenant("acme"),
    lambda o: o.deletion_receipt("acme"),
    lambda o: o.set_role("acme", "a@example.com", "owner"),
    lambda o: o.set_active("acme", "a@example.com", is_active=False),
    lambda o: o.reset_sign_in("acme", CHAT, second_factors=True),
    lambda o: o.quota("text", user_id=CHAT),
    lambda o: o.set_quota("text", dict.fromkeys(_LIMITS, 1) | {"user_id": CHAT}),
    lambda o: o.prices(every_version=True),
    lambda o: o.set_price({"provider": "*", "model": "m", "input": 1, "output": 1, "embedding": 1, "valid_from": NOW}),
    lambda o: o.rotate_keys(revoke=True),
    lambda o: o.audit(5, _WANTED, without=()),
    lambda o: o.verify_audit("acme"),
    lambda o: o.dead_letters(),
    lambda o: o.replay_dead_letters(service="chat", queue="q"),
    lambda o: o.discard_dead_letters("q"),
    lambda o: o.reembed("text"),
    lambda o: o.recount(),
    lambda o: o.pauses(),
    lambda o: o.end_pauses(),
    lambda o: o.status(),
    lambda o: o.model_providers(),
    lambda o: o.model_provider(CHAT),
    lambda o: o.add_model_provider("n", "http://a.b", api_key="k", models=["m"], auth="bearer", query={"a": "b"}),
    lambda o: o.change_model_provider(
        CHAT, base_url="https://a.b", api_key="k", models=_MODELS, auth="bearer", query={}, enabled=True, revision=2
    ),
    lambda o: o.remove_model_provider(CHAT),
    lambda o: o.check_model_provider(CHAT),
]
