"""The paths of IndiflyChat, whose bodies are rows of its tables: users, chats, messages, files, ai_usage."""

from typing import Final

from docuchat_gateway.edge.aliases.alias import Alias, Exchange, JsonObject

_FILE_OF_MESSAGE: Final = ("file_name", "file_url")
_SEARCH: Final = {"search": "q"}


def user_row(ours: JsonObject) -> JsonObject:
    """A user, as both products have it, with all that ours says besides."""
    return {
        **ours,
        "customer_id": ours["tenant"]["customer_id"],
        "is_active": True,  # nobody else gets in
    }


def _registered(ours: JsonObject, _: Exchange) -> JsonObject:
    """Of who is signed in at once: the user's row beside the tokens. Who must prove an address first is told so."""
    return {**ours, **user_row(ours["user"])} if "user" in ours else ours


def _me(ours: JsonObject, _: Exchange) -> JsonObject:
    return user_row(ours)


def _chat_row(ours: JsonObject, exchange: Exchange) -> JsonObject:
    return {
        "id": ours["id"],
        "user_id": exchange.user_id,
        "title": ours["title"] or "",
        "created_at": ours["created_at"],
        "updated_at": ours["updated_at"],
    }


def _chat_rows(ours: JsonObject, exchange: Exchange) -> list[JsonObject]:
    """A plain list; the next page is where the header `Link` says (RFC 8288)."""
    exchange.link_next(ours["next_cursor"])
    return [_chat_row(chat, exchange) for chat in ours["items"]]


def _chat_with_messages(ours: JsonObject, exchange: Exchange) -> JsonObject:
    exchange.link_next(ours["next_cursor"])
    return {**_chat_row(ours, exchange), "messages": [_message_row(message) for message in ours["messages"]]}


def _file_of(ours: JsonObject) -> JsonObject:
    """The file of a message: the first that was attached to it, else what its client said of one."""
    for attached in ours.get("attachments", ()):
        return {"file_name": attached["filename"], "file_url": f"/v1/files/{attached['id']}/content"}
    return {name: ours["metadata"].get(name) for name in _FILE_OF_MESSAGE}


def _message_row(ours: JsonObject) -> JsonObject:
    metadata = {name: value for name, value in ours["metadata"].items() if name not in _FILE_OF_MESSAGE}
    if ours["role"] == "assistant":
        metadata |= {name: ours[name] for name in ("citations", "model", "status")}
    return {
        "id": ours["id"],
        "chat_id": ours["chat_id"],
        "type": "user" if ours["role"] == "user" else "bot",
        "content": ours["content"],
        **_file_of(ours),
        "metadata": metadata,
        "created_at": ours["created_at"],
    }


def _new_message(theirs: JsonObject) -> JsonObject:
    """Only users' messages are stored: `type: bot` stays, and is refused."""
    if theirs.get("type") == "user":
        del theirs["type"]
    file = {name: theirs.pop(name) for name in _FILE_OF_MESSAGE if theirs.get(name) is not None}
    for name in _FILE_OF_MESSAGE:
        theirs.pop(name, None)
    if file and isinstance(theirs.setdefault("metadata", {}), dict):
        theirs["metadata"] |= file
    return theirs


def _question(theirs: JsonObject) -> JsonObject:
    """`content`, as a message has it, is taken for `message` as well."""
    if "message" not in theirs and "content" in theirs:
        theirs["message"] = theirs.pop("content")
    return theirs


def _answer(ours: JsonObject, exchange: Exchange) -> JsonObject:
    """An answer with its cost; of one that is still being written (`detach`) where it comes, as ours says it."""
    if "message" not in ours:
        return ours
    message = ours["message"]
    return {
        "chat_id": ours["chat_id"],
        "response": message["content"],
        "message": _message_row(message),
        "ai_usage": {
            "id": ours["turn_id"],
            "user_id": exchange.user_id,
            "chat_id": ours["chat_id"],
            "message_id": message["id"],
            "service_type": "chat",
            "model_name": ours["model"],
            "prompt_tokens": ours["usage"]["input_tokens"],
            "completion_tokens": ours["usage"]["output_tokens"],
            "total_tokens": ours["usage"]["total_tokens"],
            "created_at": message["created_at"],
        },
    }


def _file_row(ours: JsonObject, exchange: Exchange) -> JsonObject:
    """A file; its text is at `/v1/files/{id}/text` once it is processed, and its cost in `/v1/usage`."""
    return {
        "id": ours["id"],
        "user_id": exchange.user_id,
        "original_name": ours["filename"],
        "file_path": f"/v1/files/{ours['id']}",
        "file_url": f"/v1/files/{ours['id']}/content",
        "file_size": ours["size_bytes"],
        "content_type": ours["media_type"],
        "processed": ours["status"] == "ready",
        "extraction_text": None,
        "created_at": ours["created_at"],
    }


ALIASES: Final = (
    Alias("/auth/register", ("POST",), "/v1/auth/register", answered=_registered),
    Alias("/auth/login", ("POST",), "/v1/auth/login"),
    Alias("/users/me", ("GET",), "/v1/users/me", answered=_me),
    Alias("/chats", ("GET",), "/v1/chats", parameters=_SEARCH, answered=_chat_rows),
    Alias("/chats", ("POST",), "/v1/chats", answered=_chat_row),
    Alias("/chats/{chat_id}", ("GET",), "/v1/chats/{chat_id}", answered=_chat_with_messages),
    Alias("/chats/{chat_id}", ("PUT",), "/v1/chats/{chat_id}", answered=_chat_row),
    Alias("/chats/{chat_id}", ("DELETE",), "/v1/chats/{chat_id}"),
    Alias("/messages", ("POST",), "/v1/messages", asked=_new_message, answered=lambda ours, _: _message_row(ours)),
    Alias("/chat", ("POST",), "/v1/chat", asked=_question, answered=_answer),
    Alias("/files/upload", ("POST",), "/v1/files", answered=_file_row),
    Alias("/health", ("GET",), "/healthz"),
)
