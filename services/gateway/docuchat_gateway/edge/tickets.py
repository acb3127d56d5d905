"""A ticket for a stream of events: the token that it stands for takes its place before anything reads the request."""

from typing import Final
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from docuchat_common.errors import DocuChatError
from docuchat_gateway.edge.errors import TwoCredentials
from docuchat_gateway.edge.limits import REFUSED
from docuchat_gateway.events.errors import TicketInvalid
from docuchat_gateway.events.routes import PATH, TICKET

_LONGEST: Final = 100


class EventTicket:
    """Redeems the ticket of a request; of one that is refused it leaves the reason and no credential."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == PATH and scope.get("query_string"):
            await self._replace(scope)
        await self._app(scope, receive, send)

    @staticmethod
    async def _replace(scope: Scope) -> None:
        given = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tickets = [value for name, value in given if name == TICKET]
        if not tickets:
            return
        scope["query_string"] = urlencode([pair for pair in given if pair[0] != TICKET]).encode()
        headers = MutableHeaders(raw=list(scope["headers"]))
        try:
            if len(tickets) > 1 or "authorization" in headers:
                raise TwoCredentials
            token = (
                await scope["app"].state.container.tickets.redeem(tickets[0]) if len(tickets[0]) <= _LONGEST else None
            )
            if token is None:
                raise TicketInvalid
        except DocuChatError as error:
            del headers["authorization"]
            scope[REFUSED] = error
        else:
            headers["authorization"] = f"Bearer {token}"
        scope["headers"] = headers.raw
