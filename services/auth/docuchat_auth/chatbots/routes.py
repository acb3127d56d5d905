"""HTTP: visitors of chatbots; for chat, the credentials of a chatbot."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request

from docuchat_auth.chatbots.errors import TooManyVisitors
from docuchat_auth.chatbots.schemas import VisitorBody, VisitorToken, present
from docuchat_auth.chatbots.service import Chatbots
from docuchat_auth.http import ClientAddress, NoStore
from docuchat_common.contracts.chatbots import (
    PATH,
    ROTATE_PATH,
    ChatbotNotFound,
    Credentials,
    IssuedCredentials,
    Rotation,
    parse_chatbot_id,
)
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.identity import InternalCaller, OriginNotAllowed
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import TenantId

router = APIRouter(route_class=JsonRoute, tags=["public"])
inside = APIRouter(route_class=JsonRoute, dependencies=[InternalCaller, NoStore], include_in_schema=False)

Service = Annotated[Chatbots, provided("chatbots")]


@router.post(
    "/v1/public/chatbots/{publishable_id}/visitors",
    summary="Get a token for a visitor",
    status_code=201,
    dependencies=[NoStore],
    operation_id="createVisitor",
)
@public
@raises(ChatbotNotFound, OriginNotAllowed, TooManyVisitors, UpstreamUnavailable)
async def create_visitor(
    publishable_id: str,
    request: Request,
    address: ClientAddress,
    chatbots: Service,
    body: VisitorBody | None = None,
) -> VisitorToken:
    """For a page that shows the chatbot, whose `origins` must name the page: browsers say which one asks (`Origin`).

    The token opens this chatbot alone, from pages of that origin alone, for 15 minutes. Renew it with itself.
    """
    chatbot_id = parse_chatbot_id(publishable_id)
    if chatbot_id is None:
        raise ChatbotNotFound
    origins = request.headers.getlist("origin")
    shown = None if body is None else body.visitor_token
    return VisitorToken.of(await chatbots.admit(chatbot_id, origins[0] if len(origins) == 1 else None, address, shown))


@inside.put(PATH)
async def put_chatbot(chatbot_id: UUID, body: Credentials, chatbots: Service) -> IssuedCredentials:
    """Which pages may show a chatbot; the first time it gets its key."""
    tenant_id = TenantId(body.tenant_id)
    by = Caller(tenant_id, body.made_by_type, body.made_by)
    return present(*await chatbots.put(tenant_id, chatbot_id, body.origins, by, body.valid_until))


@inside.post(ROTATE_PATH)
async def rotate(chatbot_id: UUID, body: Rotation, chatbots: Service) -> IssuedCredentials:
    """Another secret; the one before works until the overlap has passed."""
    overlap = timedelta(seconds=body.overlap_seconds)
    tenant_id = TenantId(body.tenant_id)
    by = Caller(tenant_id, body.by_type, body.by)
    return present(*await chatbots.rotate(tenant_id, chatbot_id, overlap, by, body.valid_until))


@inside.delete(PATH, status_code=204)
async def delete_chatbot(chatbot_id: UUID, tenant_id: int, chatbots: Service) -> None:
    """Nobody comes with its key or as its visitor any more."""
    await chatbots.delete(TenantId(tenant_id), chatbot_id)
