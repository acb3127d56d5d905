"""HTTP of sharing."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Request, Response

from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.sharing.errors import NothingToShare, ShareNotFound, TooManyShares
from docuchat_chat.sharing.schemas import IssuedShareView, NewShare, SharedChatView, SharedMessageView, ShareView
from docuchat_chat.sharing.service import SharingService
from docuchat_common.audit import audited
from docuchat_common.contracts.public_answers import TENANT_HEADER
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.identity import NO_IDENTITY, OriginNotAllowed, current_identity
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging, number
from docuchat_common.http.permissions import public, requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_common.ids import ChatId
from docuchat_common.sealing import SealedAnswers

router = APIRouter(prefix="/v1", route_class=JsonRoute)

Sharing = Annotated[SharingService, provided("sharing")]
Owner = Annotated[Caller, requires("chats.use")]
ChatPath = Annotated[UUID, Path(description="Id of a chat.")]


@raises(*NO_IDENTITY, OriginNotAllowed)
async def _reader(request: Request) -> Caller | None:
    """Who reads; None for who is not signed in."""
    if "authorization" not in request.headers:
        return None
    return (await current_identity(request, None)).caller


@router.post(
    "/chats/{chat_id}/share",
    tags=["chats"],
    summary="Share a chat by a link",
    status_code=201,
    response_model=IssuedShareView,
)
@raises(ChatNotFound, NothingToShare, TooManyShares, *IDEMPOTENCY_ERRORS)
@audited("chat.share")
async def share_chat(
    chat_id: ChatPath,
    caller: Owner,
    sharing: Sharing,
    public_url: Annotated[str, provided("settings.public_url")],
    seal: Annotated[SealedAnswers, provided("sealed_answers")],
    creating: CurrentCreation,
    body: NewShare | None = None,
) -> Response:
    """Make a link to what is shown of a chat now; what is said later is not shared.

    The link ends with the chat, when it expires, or when it is revoked. The token is in this answer and nowhere else.
    """
    wanted = body or NewShare()
    return await creating.once(
        caller,
        body,
        lambda settle: sharing.share(caller, ChatId(chat_id), wanted.audience, wanted.life, settle),
        lambda issued: created(IssuedShareView.issue(issued, public_url)),
        about=lambda issued: issued.share.chat_id,
        seal=seal,
    )


@router.get("/chats/{chat_id}/shares", tags=["chats"], summary="List the links to a chat")
@raises(ChatNotFound)
async def list_shares(chat_id: ChatPath, caller: Owner, sharing: Sharing, paging: Paging) -> Page[ShareView]:
    """List the links that still lead to a chat, the newest first."""
    found = await sharing.list_shares(caller, ChatId(chat_id), paging.rows, paging.after(1, UUID))
    return paging.page(found, ShareView.of, lambda share: (share.id,))


@router.delete("/chats/{chat_id}/shares/{share_id}", tags=["chats"], summary="Revoke a link to a chat", status_code=204)
@raises(ChatNotFound, ShareNotFound)
@audited("share.revoke")
async def revoke_share(
    chat_id: ChatPath, share_id: Annotated[UUID, Path(description="Id of a link.")], caller: Owner, sharing: Sharing
) -> Response:
    """Let a link lead nowhere from now on."""
    await sharing.revoke(caller, ChatId(chat_id), share_id)
    return Response(status_code=204)


@router.get("/shared/{token}", tags=["chats"], summary="Read a shared chat")
@raises(ShareNotFound)
@public
async def read_shared_chat(
    token: Annotated[str, Path(max_length=100, description="From the link.")],
    reader: Annotated[Caller | None, Depends(_reader)],
    sharing: Sharing,
    paging: Paging,
    response: Response,
) -> SharedChatView:
    """Read a chat as it was when it was shared.

    A chat that is shared with a tenant needs an access token of it. Of the documents that are cited everybody sees what
    they may see anyway, and who only has a link sees nothing.
    """
    found = await sharing.follow(reader, token, paging.rows, paging.after(1, number) or 0)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Robots-Tag"] = "noindex"
    if found.share.audience == "link":
        response.headers[TENANT_HEADER] = str(found.share.tenant_id)
    page = paging.page(found.messages, SharedMessageView.of, lambda message: (message.seq,))
    return SharedChatView(
        title=found.share.title,
        shared_at=found.share.created_at,
        expires_at=found.share.expires_at,
        messages=page.items,
        next_cursor=page.next_cursor,
    )
