"""`GET /v1/events`: all documents and turns of a user in one stream, and the tickets that open it in browsers."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import StreamingResponse

from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.http.addresses import client_address
from docuchat_common.http.caller import Caller
from docuchat_common.http.claims import Identity
from docuchat_common.http.identity import INTERNAL_HEADER, CurrentIdentity
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises, reference
from docuchat_common.http.provided import provided
from docuchat_gateway.documents.errors import TooManyStreams
from docuchat_gateway.event_stream import broken_off
from docuchat_gateway.events.errors import TicketInvalid
from docuchat_gateway.events.ports import Tickets
from docuchat_gateway.events.schemas import TicketView
from docuchat_gateway.events.service import EventService, Following
from docuchat_gateway.events.turns import Turns
from docuchat_gateway.settings import Settings

router = APIRouter(prefix="/v1/events", tags=["events"], route_class=JsonRoute)

PATH: Final = "/v1/events"
TICKET: Final = "ticket"
"""The parameter that carries a ticket; before a route reads it a token stands in its place."""
TICKET_SECONDS: Final = 30
_MOST_CURSOR: Final = 6_000
_AGAIN: Final = b"retry: 2000\n\n"
_STILL_HERE: Final = b": still here\n\n"

_RESPONSES: Final[Responses] = {
    200: {
        "description": "Server-sent events. `hello` when it begins; `document` (a document of yours changed) and "
        "`document_deleted` `{id}`; `start`, `sources`, `delta`, `end` and `error` of each turn of yours, wherever it "
        "was asked, each with its `turn_id`; `chat` (its title changed); `reset` when something is missing since "
        "`Last-Event-ID`: load anew what you show; `away` and `back` while nothing can be told of documents and new "
        "turns; `error` without a `turn_id` when the stream cannot go on. A browser's EventSource hands an `error` to "
        "`onerror`, with `data`; a lost connection comes there without. It ends after a while: open another.",
        "content": {
            "text/event-stream": {
                "schema": {"oneOf": [reference(name) for name in ("DocumentView", "ServerFrame", "ErrorFrame")]}
            }
        },
    },
}

Follower = Annotated[Caller, requires("chats.follow")]


@router.get(
    "", summary="Your documents and turns, as they happen", response_class=StreamingResponse, responses=_RESPONSES
)
@raises(TooManyStreams, TicketInvalid, UpstreamUnavailable)
async def follow_events(
    request: Request,
    caller: Follower,
    identity: CurrentIdentity,
    last_event_id: Annotated[
        str | None,
        Query(max_length=_MOST_CURSOR, description="As `Last-Event-ID`, for a page that opens a stream anew."),
    ] = None,
    last_event_id_header: Annotated[
        str | None, Header(alias="Last-Event-ID", max_length=_MOST_CURSOR, description="The `id` of the last event.")
    ] = None,
    seconds: Annotated[
        int | None, Query(ge=1, le=3600, description="End the stream after so long, if it does not end before.")
    ] = None,
    ticket: Annotated[
        str | None, Query(max_length=100, description="From `POST /v1/events/tickets`, for who can send no header.")
    ] = None,
) -> StreamingResponse:
    """One stream tells of all documents that you uploaded and of all your turns, so that a page needs one connection.

    Open it first, then load what you show: nothing is missed in between. Each event has an `id`; a stream that is
    opened with the last one as `Last-Event-ID` goes on behind it, at any server, without gap or repetition.
    """
    container = request.app.state.container
    settings: Settings = container.settings
    container.event_streams.require_room(caller.holder)
    container.event_streams_of_address.require_room(client_address(request))
    headers = {
        "Authorization": f"Bearer {identity.token}",
        "Accept": "text/event-stream",
        INTERNAL_HEADER: settings.internal_token.get_secret_value(),
    }
    if identity.origin is not None:
        headers["Origin"] = identity.origin  # chat judges again from which page a visitor comes
    turns = Turns(container.upstreams.chat, headers, settings.chat_timeout)
    events: EventService = container.events
    following = events.follow(caller, turns, last_event_id_header or last_event_id or None)
    return StreamingResponse(
        _events(request, identity, following, seconds),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@router.post("/tickets", status_code=201, summary="A ticket that opens your stream of events in a browser")
@raises(UpstreamUnavailable)
async def make_ticket(
    caller: Follower, identity: CurrentIdentity, tickets: Annotated[Tickets, provided("tickets")]
) -> TicketView:
    """A browser's EventSource sends no header: it opens `/v1/events?ticket=…`, once, within 30 seconds."""
    return TicketView(ticket=await tickets.issue(identity.token), expires_in=TICKET_SECONDS)


async def _events(
    request: Request, identity: Identity, following: Following, seconds: int | None
) -> AsyncIterator[bytes]:
    container = request.app.state.container
    settings: Settings = container.settings
    loop = asyncio.get_running_loop()
    # a token is good for so long only, and chat is asked with it
    longest = settings.progress_longest.total_seconds()
    ends_at = loop.time() + min(longest, seconds or longest, identity.expires_at - time.time())
    coming: asyncio.Task[bytes] | None = None
    try:
        with (
            container.event_streams.one_more(identity.caller.holder),
            # whoever likes can be another visitor of a chatbot
            container.event_streams_of_address.one_more(client_address(request)),
            container.verifier.standing.following(identity, "GET") as ended,
        ):
            async with following:
                while loop.time() < ends_at:
                    coming = coming or asyncio.create_task(following.next())
                    patience = min(settings.progress_heartbeat.total_seconds(), ends_at - loop.time())
                    await asyncio.wait({coming, ended}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                    if ended.done():
                        raise ended.result()
                    if coming.done():
                        events, coming = coming.result(), None
                        yield events
                    else:
                        yield _STILL_HERE
                yield _AGAIN
    except DocuChatError as error:
        yield broken_off(error)
    finally:
        if coming is not None:
            coming.cancel()
