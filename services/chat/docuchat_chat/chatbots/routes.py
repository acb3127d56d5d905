"""HTTP of chatbots."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response

from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.chatbots.domain import Version
from docuchat_chat.chatbots.errors import (
    ChatbotChanged,
    ChatbotNotPublished,
    ChatbotVersionNotFound,
    CredentialsLate,
    NothingToPublish,
    TooManyChatbots,
)
from docuchat_chat.chatbots.schemas import (
    ChatbotChanges,
    ChatbotView,
    CreatedChatbotView,
    NewChatbotBody,
    PublishBody,
    RotateBody,
    RotatedKeyView,
)
from docuchat_chat.chatbots.service import ChatbotService, CreatedChatbot
from docuchat_chat.chatbots.version_schemas import ChangesView, VersionView, WhichPath
from docuchat_common.audit import audited
from docuchat_common.contracts.chatbots import ChatbotNotFound, IssuedCredentials
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import TextRoute
from docuchat_common.http.pages import Page, Paging, number
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.http.sign_ins import RecentSignInRequired
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS, StoredResponse
from docuchat_common.ids import ChatbotId
from docuchat_common.sealing import SealedAnswers
from docuchat_knowledge.collections.errors import CollectionNotFound

router = APIRouter(prefix="/v1/chatbots", route_class=TextRoute, tags=["chatbots"])

Chatbots = Annotated[ChatbotService, provided("chatbots")]
Sealed = Annotated[SealedAnswers, provided("sealed_answers")]
Manager = Annotated[Caller, requires("chatbots.manage")]
Reader = Annotated[Caller, requires("chatbots.read")]
ChatbotPath = Annotated[UUID, Path(description="Id of a chatbot.")]
VersionPath = Annotated[WhichPath, Path(description="Number of a version, or `draft`.")]
NumberPath = Annotated[int, Path(ge=1, le=2**31 - 1, description="Number of a version.")]


@router.post("", summary="Create a chatbot", status_code=201, response_model=CreatedChatbotView)
@raises(ModelNotAllowed, CollectionNotFound, TooManyChatbots, CredentialsLate, *IDEMPOTENCY_ERRORS)
@audited("chatbot.create")
async def create_chatbot(
    body: NewChatbotBody, caller: Manager, chatbots: Chatbots, seal: Sealed, creating: CurrentCreation
) -> Response:
    """Create a chatbot with a draft and a secret key, which is in this answer and nowhere else.

    It answers nobody until its draft is published, unless `publish` says that it is at once. The secret is shown to a
    user who signed in within the last 15 minutes alone: others make the chatbot without it (`secret_key_withheld`).
    """
    return await creating.once(
        caller,
        body,
        lambda settle: chatbots.create(caller, body.to_new(), settle),
        _present_created,
        about=lambda made: made.edited.chatbot.id,
        seal=seal,
    )


@router.get("", summary="List chatbots")
async def list_chatbots(
    caller: Reader,
    chatbots: Chatbots,
    paging: Paging,
    q: Annotated[str | None, Query(max_length=200, description="Searched in names, spelling variants folded.")] = None,
) -> Page[ChatbotView]:
    """List chatbots, newest first: all to who manages them, to others those that are published."""
    query = q.replace("\x00", "") if q else None
    found = await chatbots.list_chatbots(
        caller, paging.rows, paging.after(1, lambda text: ChatbotId(UUID(text))), query
    )
    whole = caller.can("chatbots.manage")
    return paging.page(found, lambda each: ChatbotView.of(each, whole=whole), lambda each: (each.chatbot.id,))


@router.get("/{chatbot_id}", summary="Get a chatbot")
@raises(ChatbotNotFound)
async def get_chatbot(chatbot_id: ChatbotPath, caller: Reader, chatbots: Chatbots) -> ChatbotView:
    """Get a chatbot, with its draft for who manages chatbots."""
    edited = await chatbots.get(caller, ChatbotId(chatbot_id))
    return ChatbotView.of(edited, whole=caller.can("chatbots.manage"))


@router.patch("/{chatbot_id}", summary="Edit a chatbot")
@raises(ChatbotNotFound, ChatbotChanged, ModelNotAllowed, CredentialsLate)
@audited("chatbot.update")
async def edit_chatbot(
    chatbot_id: ChatbotPath, body: ChatbotChanges, caller: Manager, chatbots: Chatbots
) -> ChatbotView:
    """Change the draft, which answers nobody before it is published.

    Name, description, origins and limits hold at once. With `revision` nobody else's edit is overwritten.
    """
    return ChatbotView.of(await chatbots.edit(caller, ChatbotId(chatbot_id), body.to_edit()))


@router.delete("/{chatbot_id}", summary="Delete a chatbot", status_code=204)
@raises(ChatbotNotFound)
@audited("chatbot.delete")
async def delete_chatbot(chatbot_id: ChatbotPath, caller: Manager, chatbots: Chatbots) -> Response:
    """Delete a chatbot, its versions, key, visitors, documents and all chats with it."""
    await chatbots.delete(caller, ChatbotId(chatbot_id))
    return Response(status_code=204)


@router.post("/{chatbot_id}/publish", summary="Publish a draft", status_code=201, response_model=VersionView)
@raises(ChatbotNotFound, ChatbotChanged, NothingToPublish, ModelNotAllowed, CollectionNotFound, *IDEMPOTENCY_ERRORS)
@audited("chatbot.publish")
async def publish_chatbot(
    chatbot_id: ChatbotPath,
    caller: Manager,
    chatbots: Chatbots,
    creating: CurrentCreation,
    body: PublishBody | None = None,
) -> Response:
    """Make the next version of the draft, which answers from now on.

    Who may ask the chatbot reads, in its answers, what that version answers from.
    """
    return await creating.once(
        caller,
        body,
        lambda settle: chatbots.publish(caller, ChatbotId(chatbot_id), body.revision if body else None, settle),
        _present_version,
        about=lambda version: version.chatbot_id,
    )


@router.post("/{chatbot_id}/unpublish", summary="Take a chatbot offline")
@raises(ChatbotNotFound, ChatbotNotPublished)
@audited("chatbot.unpublish")
async def unpublish_chatbot(chatbot_id: ChatbotPath, caller: Manager, chatbots: Chatbots) -> ChatbotView:
    """Let it answer nobody until a version is published or restored again."""
    await chatbots.unpublish(caller, ChatbotId(chatbot_id))
    return ChatbotView.of(await chatbots.get(caller, ChatbotId(chatbot_id)))


@router.post("/{chatbot_id}/rotate_key", summary="Rotate a secret key", status_code=201, response_model=RotatedKeyView)
@raises(ChatbotNotFound, RecentSignInRequired, *IDEMPOTENCY_ERRORS)
@audited("chatbot.rotate_key")
async def rotate_key(
    chatbot_id: ChatbotPath,
    caller: Manager,
    chatbots: Chatbots,
    seal: Sealed,
    creating: CurrentCreation,
    body: RotateBody | None = None,
) -> Response:
    """Give the key another secret, which is in this answer and nowhere else. Needs a sign-in of the last 15 minutes.

    The one before works for an hour, or for `overlap_seconds`; any older one no more.
    """
    overlap = (body or RotateBody()).overlap
    return await creating.once(
        caller,
        body,
        lambda settle: chatbots.rotate_key(caller, ChatbotId(chatbot_id), overlap, settle),
        _present_rotated,
        about=lambda _: chatbot_id,
        seal=seal,
    )


@router.get("/{chatbot_id}/versions", summary="List versions")
@raises(ChatbotNotFound)
async def list_versions(
    chatbot_id: ChatbotPath, caller: Manager, chatbots: Chatbots, paging: Paging
) -> Page[VersionView]:
    """List the published versions of a chatbot, newest first."""
    before = paging.after(1, lambda text: number(text, 1 << 31))
    found = await chatbots.list_versions(caller, ChatbotId(chatbot_id), paging.rows, before)
    return paging.page(found, VersionView.of, lambda version: (version.number,))


@router.get("/{chatbot_id}/versions/{version}", summary="Get a version")
@raises(ChatbotNotFound, ChatbotVersionNotFound)
async def get_version(
    chatbot_id: ChatbotPath, version: VersionPath, caller: Manager, chatbots: Chatbots
) -> VersionView:
    """Get a version, or the draft."""
    return VersionView.of((await chatbots.version(caller, ChatbotId(chatbot_id), version))[1])


@router.get("/{chatbot_id}/versions/{version}/changes", summary="Compare versions")
@raises(ChatbotNotFound, ChatbotVersionNotFound)
async def compare_versions(
    chatbot_id: ChatbotPath,
    version: VersionPath,
    caller: Manager,
    chatbots: Chatbots,
    other: Annotated[
        WhichPath | None, Query(alias="from", description="The version to compare with; the one before unless said.")
    ] = None,
) -> ChangesView:
    """Say field by field what became different from one version, or the draft, to another."""
    before, after = await chatbots.two_versions(caller, ChatbotId(chatbot_id), version, other)
    return ChangesView.of(before, after)


@router.post(
    "/{chatbot_id}/versions/{version}/restore",
    summary="Restore a version",
    status_code=201,
    response_model=VersionView,
)
@raises(
    ChatbotNotFound, ChatbotVersionNotFound, NothingToPublish, ModelNotAllowed, CollectionNotFound, *IDEMPOTENCY_ERRORS
)
@audited("chatbot.restore")
async def restore_version(
    chatbot_id: ChatbotPath, version: NumberPath, caller: Manager, chatbots: Chatbots, creating: CurrentCreation
) -> Response:
    """Make a version that is equal to an earlier one, live at once, and set the draft to it."""
    return await creating.once(
        caller,
        None,
        lambda settle: chatbots.restore(caller, ChatbotId(chatbot_id), version, settle),
        _present_version,
        about=lambda made: made.chatbot_id,
    )


def _present_created(made: CreatedChatbot) -> StoredResponse:
    return replace(created(CreatedChatbotView.of_created(made)), headers={"Cache-Control": "no-store"})


def _present_rotated(issued: IssuedCredentials) -> StoredResponse:
    return replace(created(RotatedKeyView.of(issued)), headers={"Cache-Control": "no-store"})


def _present_version(version: Version) -> StoredResponse:
    return created(VersionView.of(version))
