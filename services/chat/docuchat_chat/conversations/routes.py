"""HTTP of chats and messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from docuchat_chat.conversations.domain import Chat, Message
from docuchat_chat.conversations.schemas import (
    ChatView,
    ChatWithMessages,
    ForgetDocument,
    ForgottenQuotes,
    MessageView,
    NewChat,
    NewMessage,
    RenameChat,
)
from docuchat_chat.conversations.service import ConversationService
from docuchat_common.http.identity import CurrentCaller, require_internal_token
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Cursor, InvalidCursor, Limit, Page, decode_cursor, encode_cursor
from docuchat_common.http.problems import problem_responses
from docuchat_common.ids import ChatId, DocumentId, TenantId

router = APIRouter(prefix="/v1", route_class=JsonRoute)


async def _conversations(request: Request) -> ConversationService:
    service: ConversationService = request.app.state.container.conversations
    return service


Conversations = Annotated[ConversationService, Depends(_conversations)]
ChatPath = Annotated[UUID, Path(description="Id of a chat.")]


@router.post(
    "/chats", tags=["chats"], summary="Create a chat", status_code=201, responses=problem_responses(401, 403, 422, 503)
)
async def create_chat(caller: CurrentCaller, chats: Conversations, body: NewChat | None = None) -> ChatView:
    """Create an empty chat; asking without one makes one too."""
    return ChatView.of(await chats.create(caller, body.title if body else None))


@router.get(
    "/chats", tags=["chats"], summary="List or search one's chats", responses=problem_responses(401, 403, 422, 503)
)
async def list_chats(
    caller: CurrentCaller,
    chats: Conversations,
    limit: Limit = 20,
    cursor: Cursor = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Searched in titles and messages, spelling variants folded.")
    ] = None,
) -> Page[ChatView]:
    """List one's chats, most recently used first."""
    before = _chat_position(cursor) if cursor is not None else None
    query = q.replace("\x00", "") if q else None
    found = await chats.list_chats(caller, limit + 1, before, query)
    return Page(
        items=[ChatView.of(chat) for chat in found[:limit]],
        next_cursor=_chat_cursor(found[limit - 1]) if len(found) > limit else None,
    )


@router.get(
    "/chats/{chat_id}",
    tags=["chats"],
    summary="Get a chat with its messages",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def get_chat(
    chat_id: ChatPath,
    caller: CurrentCaller,
    chats: Conversations,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ChatWithMessages:
    """Get a chat and a page of its messages, in order of time."""
    found = await chats.get(caller, ChatId(chat_id), limit + 1, _message_position(cursor))
    return ChatWithMessages(
        **ChatView.of(found.chat).model_dump(),
        messages=[MessageView.of(message) for message in found.messages[:limit]],
        next_cursor=_message_cursor(found.messages, limit),
    )


async def rename_chat(chat_id: ChatPath, body: RenameChat, caller: CurrentCaller, chats: Conversations) -> ChatView:
    """Give a chat another title."""
    return ChatView.of(await chats.rename(caller, ChatId(chat_id), body.title))


for _method in ("PATCH", "PUT"):
    router.add_api_route(
        "/chats/{chat_id}",
        rename_chat,
        methods=[_method],
        tags=["chats"],
        summary="Rename a chat",
        name=f"rename_chat_{_method.lower()}",
        response_model=ChatView,
        responses=problem_responses(401, 403, 404, 422, 503),
    )


@router.delete(
    "/chats/{chat_id}",
    tags=["chats"],
    summary="Delete a chat",
    status_code=204,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def delete_chat(chat_id: ChatPath, caller: CurrentCaller, chats: Conversations) -> Response:
    """Delete a chat and its messages; an answer in the making is stopped."""
    await chats.delete(caller, ChatId(chat_id))
    return Response(status_code=204)


@router.post(
    "/messages",
    tags=["chats"],
    summary="Store a message",
    status_code=201,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def add_message(body: NewMessage, caller: CurrentCaller, chats: Conversations) -> MessageView:
    """Store a message of the user without answering it; it is part of the history of the next question."""
    message = await chats.add_message(caller, ChatId(body.chat_id), body.content, dict(body.metadata))
    return MessageView.of(message)


@router.get(
    "/messages",
    tags=["chats"],
    summary="List the messages of a chat",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def list_messages(
    caller: CurrentCaller,
    chats: Conversations,
    chat_id: Annotated[UUID, Query(description="Id of a chat.")],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[MessageView]:
    """List the messages of a chat, in order of time."""
    found = await chats.get(caller, ChatId(chat_id), limit + 1, _message_position(cursor))
    return Page(
        items=[MessageView.of(message) for message in found.messages[:limit]],
        next_cursor=_message_cursor(found.messages, limit),
    )


internal = APIRouter(prefix="/internal", route_class=JsonRoute, include_in_schema=False)


@internal.post("/documents/{document_id}/forget", dependencies=[Depends(require_internal_token)])
async def forget_document(document_id: UUID, body: ForgetDocument, chats: Conversations) -> ForgottenQuotes:
    """Empty the quotes of a deleted document in stored answers."""
    return ForgottenQuotes(quotes=await chats.forget_document(TenantId(body.tenant_id), DocumentId(document_id)))


def _chat_cursor(chat: Chat) -> str:
    return encode_cursor(chat.updated_at.isoformat(), str(chat.id))


def _chat_position(cursor: str) -> tuple[datetime, ChatId]:
    moment, chat_id = decode_cursor(cursor, 2)
    try:
        at = datetime.fromisoformat(moment)
        if at.tzinfo is None:
            raise InvalidCursor
        # in UTC already here: at either end of the calendar another zone's time cannot be converted
        return at.astimezone(UTC), ChatId(UUID(chat_id))
    except (ValueError, OverflowError) as error:
        raise InvalidCursor from error


def _message_cursor(messages: list[Message], limit: int) -> str | None:
    return encode_cursor(messages[limit - 1].seq) if len(messages) > limit else None


def _message_position(cursor: str | None) -> int:
    if cursor is None:
        return 0
    (seq,) = decode_cursor(cursor, 1)
    if not (seq.isascii() and seq.isdecimal() and len(seq) < 18):
        raise InvalidCursor
    return int(seq)
