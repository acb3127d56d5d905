"""HTTP of chats and messages."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response

from docuchat_chat.answers.errors import MessageEmpty
from docuchat_chat.conversations.domain import ChatFilter, ChatPosition
from docuchat_chat.conversations.errors import (
    AnswerInProgress,
    ChatFull,
    ChatNotFound,
    MessageTooLong,
    TooManyMessages,
)
from docuchat_chat.conversations.schemas import (
    ChangeChat,
    ChatView,
    ChatWithMessages,
    ForgetDocument,
    ForgottenQuotes,
    MessageView,
    NewChat,
    NewMessage,
    PlacedMessageView,
    RenameChat,
)
from docuchat_chat.conversations.service import Conversation, ConversationService
from docuchat_chat.feedback.errors import MessageNotFound
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.identity import require_internal_token
from docuchat_common.http.json_body import TextRoute
from docuchat_common.http.pages import Page, Paging, moment, number
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_common.ids import ChatbotId, ChatId, DocumentId, TenantId

router = APIRouter(prefix="/v1", route_class=TextRoute)


Conversations = Annotated[ConversationService, provided("conversations")]
Asker = Annotated[Caller, requires("chats.use")]
Branches = Annotated[
    Literal["shown", "all"],
    Query(description="`shown`: the messages up to `head_id`; `all`: those of all branches. Both in order of time."),
]
ChatPath = Annotated[UUID, Path(description="Id of a chat.")]


@router.post("/chats", tags=["chats"], summary="Create a chat", status_code=201, response_model=ChatView)
@raises(*IDEMPOTENCY_ERRORS)
@audited("chat.create")
async def create_chat(
    caller: Asker, chats: Conversations, creating: CurrentCreation, body: NewChat | None = None
) -> Response:
    """Create an empty chat; asking without one makes one too."""
    return await creating.once(
        caller,
        body,
        lambda settle: chats.create(caller, body.title if body else None, settle),
        lambda chat: created(ChatView.of(chat)),
        about=lambda chat: chat.id,
    )


@router.get("/chats", tags=["chats"], summary="List or search one's chats")
async def list_chats(
    caller: Asker,
    chats: Conversations,
    paging: Paging,
    q: Annotated[
        str | None, Query(max_length=200, description="Searched in titles and messages, spelling variants folded.")
    ] = None,
    archived: Annotated[bool, Query(description="List the archived chats, and those alone.")] = False,
    pinned: Annotated[bool | None, Query(description="List the pinned chats alone, or the others.")] = None,
    chatbot_id: Annotated[UUID | None, Query(description="List one's chats with this chatbot alone.")] = None,
) -> Page[ChatView]:
    """List one's chats, pinned ones first, then most recently used first."""
    query = q.replace("\x00", "") if q else None
    chatbot = ChatbotId(chatbot_id) if chatbot_id is not None else None
    which = ChatFilter(archived=archived, pinned=pinned, chatbot_id=chatbot)
    found = await chats.list_chats(caller, paging.rows, paging.after(3, _chat_position), query, which=which)
    return paging.page(found, ChatView.of, lambda chat: (int(chat.pinned), chat.updated_at.isoformat(), chat.id))


@router.get(
    "/chats/{chat_id}",
    tags=["chats"],
    summary="Get a chat with its messages",
)
@raises(ChatNotFound)
async def get_chat(
    chat_id: ChatPath, caller: Asker, chats: Conversations, paging: Paging, branches: Branches = "shown"
) -> ChatWithMessages:
    """Get a chat and a page of its messages, in order of time."""
    return await _present(chats, caller, chat_id, paging, branches)


@router.get(
    "/public/chats/{session_id}",
    tags=["chatbots"],
    summary="Get one's own chat with a chatbot",
)
@raises(ChatNotFound)
async def get_public_chat(
    session_id: Annotated[str, Path(max_length=200, description="The `session_id` of the questions.")],
    caller: Annotated[Caller, requires("chatbots.ask")],
    chats: Conversations,
    paging: Paging,
) -> ChatWithMessages:
    """Get what was said in a chat of a visitor's, or of a chatbot's key, such as after a page was loaded again."""
    return await _present(chats, caller, await chats.find_session(caller, session_id), paging)


@router.put("/chats/{chat_id}", tags=["chats"], summary="Rename a chat")
@raises(ChatNotFound)
@audited("chat.rename")
async def rename_chat(chat_id: ChatPath, body: RenameChat, caller: Asker, chats: Conversations) -> ChatView:
    """Give a chat another title."""
    return ChatView.of(await chats.rename(caller, ChatId(chat_id), body.title))


@router.patch("/chats/{chat_id}", tags=["chats"], summary="Rename, pin or archive a chat")
@raises(ChatNotFound, MessageNotFound, AnswerInProgress)
@audited("chat.change")
async def change_chat(chat_id: ChatPath, body: ChangeChat, caller: Asker, chats: Conversations) -> ChatView:
    """Give a chat another title, pin or archive it, or take that back."""
    return ChatView.of(await chats.change(caller, ChatId(chat_id), body.to_change()))


@router.delete(
    "/chats/{chat_id}",
    tags=["chats"],
    summary="Delete a chat",
    status_code=204,
)
@raises(ChatNotFound)
@audited("chat.delete")
async def delete_chat(chat_id: ChatPath, caller: Asker, chats: Conversations) -> Response:
    """Delete a chat and its messages; an answer in the making is stopped."""
    await chats.delete(caller, ChatId(chat_id))
    return Response(status_code=204)


@router.post(
    "/messages",
    tags=["chats"],
    summary="Store a message",
    status_code=201,
    response_model=MessageView,
)
@raises(ChatNotFound, ChatFull, MessageEmpty, MessageTooLong, TooManyMessages, *IDEMPOTENCY_ERRORS)
@audited("message.add")
async def add_message(body: NewMessage, caller: Asker, chats: Conversations, creating: CurrentCreation) -> Response:
    """Store a message of the user without answering it; it is part of the history of the next question."""
    return await creating.once(
        caller,
        body,
        lambda settle: chats.add_message(caller, ChatId(body.chat_id), body.content, dict(body.metadata), settle),
        lambda message: created(MessageView.of(message)),
        about=lambda message: message.chat_id,
    )


@router.get(
    "/messages",
    tags=["chats"],
    summary="List the messages of a chat",
)
@raises(ChatNotFound)
async def list_messages(
    caller: Asker,
    chats: Conversations,
    paging: Paging,
    chat_id: Annotated[UUID, Query(description="Id of a chat.")],
    branches: Branches = "shown",
) -> Page[PlacedMessageView]:
    """List the messages of a chat, in order of time."""
    _, page = await _page_of(chats, caller, chat_id, paging, branches)
    return page


internal = APIRouter(prefix="/internal", route_class=TextRoute, include_in_schema=False)


@internal.post("/documents/{document_id}/forget", dependencies=[Depends(require_internal_token)])
async def forget_document(document_id: UUID, body: ForgetDocument, chats: Conversations) -> ForgottenQuotes:
    """Empty the quotes of a deleted document in stored answers."""
    return ForgottenQuotes(quotes=await chats.forget_document(TenantId(body.tenant_id), DocumentId(document_id)))


async def _present(
    chats: ConversationService,
    caller: Caller,
    chat_id: UUID,
    paging: Paging,
    branches: Literal["shown", "all"] = "shown",
) -> ChatWithMessages:
    found, page = await _page_of(chats, caller, chat_id, paging, branches)
    return ChatWithMessages(
        **ChatView.of(found.chat).model_dump(),
        head_id=found.head_id,
        messages=page.items,
        next_cursor=page.next_cursor,
    )


async def _page_of(
    chats: ConversationService, caller: Caller, chat_id: UUID, paging: Paging, branches: Literal["shown", "all"]
) -> tuple[Conversation, Page[PlacedMessageView]]:
    after = paging.after(1, number) or 0
    found = await chats.get(caller, ChatId(chat_id), paging.rows, after, all_branches=branches == "all")
    return found, paging.page(found.messages, PlacedMessageView.of, lambda message: (message.seq,))


def _chat_position(is_pinned: str, at: str, chat_id: str) -> ChatPosition:
    return number(is_pinned, 2) == 1, moment(at), ChatId(UUID(chat_id))
