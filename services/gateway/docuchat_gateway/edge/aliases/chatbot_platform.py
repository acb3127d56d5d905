"""The paths of the chatbot platform, whose bodies are rows of its tables: CHATBOT, DOCUMENT, CHAT_HISTORY.

Its `/auth/register` is as IndiflyChat's. A chatbot of its answers as soon as it is made, so its draft is published.
"""

from typing import Final
from uuid import UUID

from docuchat_common.ids import made_at
from docuchat_gateway.edge.aliases.alias import Alias, Exchange, JsonObject

DEMO_MESSAGES: Final = 10
"""Of a visitor with each chatbot, where nothing else is said."""


def _new_chatbot(theirs: JsonObject) -> JsonObject:
    count = theirs.pop("demo_message_count", None)
    return {"demo_messages": DEMO_MESSAGES if count is None else count, "publish": True, **theirs}


def _chatbot_row(ours: JsonObject, exchange: Exchange) -> JsonObject:
    """A chatbot; its key is in the answer to who makes it and to who rotates it, and nowhere else."""
    return {
        "id": ours["id"],
        "customer_id": exchange.customer_id,
        "name": ours["name"],
        "description": ours["description"],
        "api_key": ours.get("secret_key"),
        "demo_message_count": ours["demo_messages"],
        "created_at": ours["created_at"],
        "updated_at": ours["updated_at"],
    }


def _chatbot_rows(ours: JsonObject, exchange: Exchange) -> list[JsonObject]:
    """A plain list; the next page is where the header `Link` says (RFC 8288)."""
    exchange.link_next(ours["next_cursor"])
    return [_chatbot_row(chatbot, exchange) for chatbot in ours["items"]]


def _rotated(ours: JsonObject, exchange: Exchange) -> JsonObject:
    return {"id": exchange.named["chatbot_id"], "api_key": ours["secret_key"]}


def _document_row(ours: JsonObject, exchange: Exchange) -> JsonObject:
    return {
        "id": ours["id"],
        "chatbot_id": exchange.named["chatbot_id"],
        "filename": ours["filename"],
        "file_path": f"/v1/files/{ours['id']}/content",
        "file_type": ours["media_type"],
        "uploaded_at": ours["created_at"],
    }


def _question(theirs: JsonObject) -> JsonObject:
    """`query` and `message` are taken for `question` as well."""
    for name in ("query", "message"):
        if "question" not in theirs and name in theirs:
            theirs["question"] = theirs.pop(name)
    return theirs


def _history_row(ours: JsonObject, exchange: Exchange) -> JsonObject:
    """A question with its answer, and what the answer rests on."""
    return {
        "id": ours["message_id"],
        "chatbot_id": ours["chatbot_id"],
        "user_id": exchange.user_id,
        "question": _question(exchange.sent)["question"],
        "answer": ours["answer"],
        "timestamp": made_at(UUID(ours["message_id"])),
        **{name: ours[name] for name in ("session_id", "citations", "usage", "chatbot_version")},
    }


_ROTATE: Final = "/v1/chatbots/{chatbot_id}/rotate_key"
_UPLOAD: Final = "/v1/chatbots/{chatbot_id}/documents"

ALIASES: Final = (
    Alias("/auth/token", ("POST",), "/v1/auth/token"),
    Alias("/api/chatbots", ("POST",), "/v1/chatbots", asked=_new_chatbot, answered=_chatbot_row),
    Alias("/api/chatbots", ("GET",), "/v1/chatbots", answered=_chatbot_rows),
    Alias("/api/chatbots/{chatbot_id}/rotate_key", ("POST",), _ROTATE, answered=_rotated),
    Alias("/api/chatbots/{chatbot_id}/snippet", ("GET",), "/v1/chatbots/{chatbot_id}/snippet"),
    Alias("/api/upload/{chatbot_id}", ("POST",), _UPLOAD, answered=_document_row),
    Alias(
        "/api/public/{chatbot_id}/query",
        ("POST",),
        "/v1/public/chatbots/{publishable_id}/query",
        parameters={"chatbot_id": "publishable_id"},
        asked=_question,
        answered=_history_row,
    ),
    Alias(
        "/api/{customer_id}/{chatbot_id}/query",
        ("POST",),
        "/v1/chatbots/{chatbot_id}/query",
        tenant="customer_id",
        asked=_question,
        answered=_history_row,
    ),
)
