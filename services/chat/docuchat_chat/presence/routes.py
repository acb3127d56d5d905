"""HTTP of sessions of chats."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.presence.errors import ChatSessionNotFound, TooManyChatSessions
from docuchat_chat.presence.schemas import ChatSessions, ChatSessionView, KeepChatSession, OpenedChatSession
from docuchat_chat.presence.service import PresenceService
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_common.ids import ChatId
from docuchat_common.sealing import SealedAnswers

router = APIRouter(prefix="/v1", route_class=JsonRoute)

Sessions = Annotated[PresenceService, provided("presence")]
Owner = Annotated[Caller, requires("chats.use")]
ChatPath = Annotated[UUID, Path(description="Id of a chat.")]
SessionPath = Annotated[UUID, Path(description="Id of a session of the chat.")]


@router.post(
    "/chats/{chat_id}/sessions",
    tags=["chats"],
    summary="Say that a chat is open",
    status_code=201,
    response_model=OpenedChatSession,
)
@raises(ChatNotFound, TooManyChatSessions, *IDEMPOTENCY_ERRORS)
@audited("chat_session.open")
async def open_chat_session(
    chat_id: ChatPath,
    caller: Owner,
    sessions: Sessions,
    seal: Annotated[SealedAnswers, provided("sealed_answers")],
    creating: CurrentCreation,
) -> Response:
    """Begin a session in a window or on a device; it ends after two minutes without a sign of life."""
    return await creating.once(
        caller,
        None,
        lambda settle: sessions.open(caller, ChatId(chat_id), settle),
        lambda opened: created(OpenedChatSession.opened(opened)),
        about=lambda opened: opened.session.chat_id,
        seal=seal,
    )


@router.get("/chats/{chat_id}/sessions", tags=["chats"], summary="List where a chat is open")
@raises(ChatNotFound)
async def list_chat_sessions(chat_id: ChatPath, caller: Owner, sessions: Sessions) -> ChatSessions:
    """List the sessions of a chat that have not ended, at most 50, the newest first."""
    found = await sessions.list_active(caller, ChatId(chat_id))
    return ChatSessions(items=[ChatSessionView.of(session) for session in found])


@router.put("/chats/{chat_id}/sessions/{session_id}", tags=["chats"], summary="Say that a chat is still open")
@raises(ChatNotFound, ChatSessionNotFound)
async def keep_chat_session(
    chat_id: ChatPath, session_id: SessionPath, body: KeepChatSession, caller: Owner, sessions: Sessions
) -> ChatSessionView:
    """Show a sign of life of a session, with its token."""
    return ChatSessionView.of(await sessions.keep(caller, ChatId(chat_id), session_id, body.session_token))


@router.delete(
    "/chats/{chat_id}/sessions/{session_id}", tags=["chats"], summary="Say that a chat is closed", status_code=204
)
@raises(ChatNotFound, ChatSessionNotFound)
@audited("chat_session.close")
async def close_chat_session(chat_id: ChatPath, session_id: SessionPath, caller: Owner, sessions: Sessions) -> Response:
    """End a session."""
    await sessions.close(caller, ChatId(chat_id), session_id)
    return Response(status_code=204)
