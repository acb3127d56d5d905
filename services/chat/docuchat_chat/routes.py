"""HTTP: parse, call a use case, present."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response

from docuchat_chat.container import Container
from docuchat_chat.domain.model import Asker, Chat, Message
from docuchat_chat.errors import MessageTooLong
from docuchat_chat.schemas import (
    AnswerView,
    AskBody,
    ChatView,
    ChatWithMessages,
    FoundPassage,
    MessageView,
    NewChat,
    NewMessage,
    RenameChat,
    SearchView,
    StoppedView,
)
from docuchat_chat.streaming import EventStream
from docuchat_common.http.identity import CurrentPrincipal, Principal
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Cursor, InvalidCursor, Limit, Page, decode_cursor, encode_cursor
from docuchat_common.http.problems import problem_responses
from docuchat_common.ids import ChatId, DocumentId, TurnId

router = APIRouter(prefix="/v1", route_class=JsonRoute)

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "With `stream: true`, or where only a stream is served: server-sent events `start`, `sources`, "
        "`delta` (`id` is its number, from 1), then `end` or `error`. A dropped stream resumes at "
        "`GET /v1/turns/{turn_id}/events`.",
        "content": {
            "text/event-stream": {
                "schema": {"type": "string"},
                "example": 'event: delta\nid: 1\ndata: {"type":"delta","seq":1,"token":"Two years [1]."}\n\n',
            }
        },
    }
}
KEY_PATTERN = r"^[\x20-\x7e]{1,255}$"


async def container(request: Request) -> Container:
    """Return the service's container."""
    held: Container = request.app.state.container
    return held


Held = Annotated[Container, Depends(container)]
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=KEY_PATTERN,
        description="Makes a repeat safe for 24 hours: the same key and body give the same answer, without a second "
        "call of the model.",
    ),
]
ChatPath = Annotated[UUID, Path(description="Id of a chat.")]
TurnPath = Annotated[UUID, Path(description="Id of a turn, from `start` or from the answer.")]


def asker_of(principal: Principal) -> Asker:
    """Return the principal as the domain knows it."""
    return Asker(principal.tenant_id, principal.user_id)


@router.post(
    "/chat",
    tags=["chat"],
    summary="Ask a question about the documents",
    response_model=AnswerView,
    responses={**EVENTS, **problem_responses(401, 403, 404, 409, 422, 429, 503)},
)
async def ask(body: AskBody, principal: CurrentPrincipal, held: Held, key: IdempotencyKey = None) -> Any:
    """Answer a question from the tenant's documents, with checked citations.

    The answer goes on when the client hangs up; it is kept in the chat. 429 `quota_exceeded` comes with the time at
    which the quota resets, before any model is called.
    """
    answering = await held.asking.ask(asker_of(principal), body.to_request(), key=key, attach=body.stream)
    if body.stream:
        return EventStream(
            answering.events(-1),
            stall=held.client_stall,
            headers={"X-Turn-ID": str(answering.turn.id), "X-Chat-ID": str(answering.turn.chat_id)},
        )
    return AnswerView.of(await answering.result())


@router.post(
    "/turns/{turn_id}/stop",
    tags=["chat"],
    summary="Stop an answer",
    status_code=202,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def stop_turn(turn_id: TurnPath, principal: CurrentPrincipal, held: Held) -> StoppedView:
    """Stop an answer that is being written, wherever it is; what was sent is kept, and only that is booked."""
    state = await held.replay.stop(asker_of(principal), TurnId(turn_id))
    return StoppedView(turn_id=turn_id, state=state.value)


@router.get(
    "/turns/{turn_id}/events",
    tags=["chat"],
    summary="Resume the stream of an answer",
    response_class=Response,
    responses={**EVENTS, **problem_responses(401, 403, 404, 422, 503)},
)
async def resume_turn(
    turn_id: TurnPath,
    principal: CurrentPrincipal,
    held: Held,
    after: Annotated[
        int | None, Query(ge=0, le=2**31 - 1, description="`seq` of the last delta received; 0 for everything.")
    ] = None,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", max_length=20)] = None,
) -> Response:
    """Stream what follows delta `after`: no gap, no repeat, no second call of the model; finished turns too."""
    if after is None:
        after = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else 0
    frames = await held.replay.resume(asker_of(principal), TurnId(turn_id), after)
    return EventStream(frames, stall=held.client_stall, headers={"X-Turn-ID": str(turn_id)})


@router.post(
    "/chats", tags=["chats"], summary="Create a chat", status_code=201, responses=problem_responses(401, 403, 422, 503)
)
async def create_chat(principal: CurrentPrincipal, held: Held, body: NewChat | None = None) -> ChatView:
    """Create an empty chat; asking without one makes one too."""
    return ChatView.of(await held.conversations.create(asker_of(principal), body.title if body else None))


@router.get(
    "/chats", tags=["chats"], summary="List or search one's chats", responses=problem_responses(401, 403, 422, 503)
)
async def list_chats(
    principal: CurrentPrincipal,
    held: Held,
    limit: Limit = 20,
    cursor: Cursor = None,
    q: Annotated[
        str | None, Query(max_length=200, description="Searched in titles and messages, spelling variants folded.")
    ] = None,
) -> Page[ChatView]:
    """List one's chats, most recently used first."""
    before = _chat_position(cursor) if cursor is not None else None
    query = q.replace("\x00", "") if q else None
    chats = await held.conversations.list_chats(asker_of(principal), limit + 1, before, query)
    return Page(
        items=[ChatView.of(chat) for chat in chats[:limit]],
        next_cursor=_chat_cursor(chats[limit - 1]) if len(chats) > limit else None,
    )


@router.get(
    "/chats/{chat_id}",
    tags=["chats"],
    summary="Get a chat with its messages",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def get_chat(
    chat_id: ChatPath, principal: CurrentPrincipal, held: Held, limit: Limit = 50, cursor: Cursor = None
) -> ChatWithMessages:
    """Get a chat and a page of its messages, in order of time."""
    found = await held.conversations.get(asker_of(principal), ChatId(chat_id), limit + 1, _message_position(cursor))
    return ChatWithMessages(
        **ChatView.of(found.chat).model_dump(),
        messages=[MessageView.of(message) for message in found.messages[:limit]],
        next_cursor=_message_cursor(found.messages, limit),
    )


async def rename_chat(chat_id: ChatPath, body: RenameChat, principal: CurrentPrincipal, held: Held) -> ChatView:
    """Give a chat another title."""
    return ChatView.of(await held.conversations.rename(asker_of(principal), ChatId(chat_id), body.title))


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
async def delete_chat(chat_id: ChatPath, principal: CurrentPrincipal, held: Held) -> Response:
    """Delete a chat and its messages; an answer in the making is stopped."""
    await held.conversations.delete(asker_of(principal), ChatId(chat_id))
    return Response(status_code=204)


@router.post(
    "/messages",
    tags=["chats"],
    summary="Store a message",
    status_code=201,
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def add_message(body: NewMessage, principal: CurrentPrincipal, held: Held) -> MessageView:
    """Store a message of the user without answering it; it is part of the history of the next question."""
    if len(body.content) > held.max_message_chars:
        raise MessageTooLong(limit=held.max_message_chars)
    message = await held.conversations.add_message(
        asker_of(principal), ChatId(body.chat_id), body.content, dict(body.metadata)
    )
    return MessageView.of(message)


@router.get(
    "/messages",
    tags=["chats"],
    summary="List the messages of a chat",
    responses=problem_responses(401, 403, 404, 422, 503),
)
async def list_messages(
    principal: CurrentPrincipal,
    held: Held,
    chat_id: Annotated[UUID, Query(description="Id of a chat.")],
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[MessageView]:
    """List the messages of a chat, in order of time."""
    found = await held.conversations.get(asker_of(principal), ChatId(chat_id), limit + 1, _message_position(cursor))
    return Page(
        items=[MessageView.of(message) for message in found.messages[:limit]],
        next_cursor=_message_cursor(found.messages, limit),
    )


@router.get(
    "/search",
    tags=["search"],
    summary="Test what a question would be answered from",
    responses=problem_responses(401, 403, 422, 429, 503),
)
async def search(
    principal: CurrentPrincipal,
    held: Held,
    q: Annotated[str, Query(min_length=1, max_length=2000, description="A question or words.")],
    limit: Annotated[int, Query(ge=1, le=50)] = 6,
    document_id: Annotated[list[UUID] | None, Query(max_length=100, description="Search these documents only.")] = None,
) -> SearchView:
    """Return the passages that hybrid search finds, with their place in either leg."""
    documents = tuple(map(DocumentId, document_id)) if document_id else None
    passages = await held.conversations.search(asker_of(principal), q, limit, documents)
    return SearchView(results=[FoundPassage.of(passage) for passage in passages])


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
