"""The paths of the services behind, from the table."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from docuchat_common.errors import Forbidden
from docuchat_common.http.identity import INTERNAL_HEADER, assert_same_origin, assert_same_tenant, bearer_token
from docuchat_common.http.json_body import read_bounded
from docuchat_common.http.refusals import note_refusal
from docuchat_gateway.edge.errors import SlowBody
from docuchat_gateway.edge.limits import TURN
from docuchat_gateway.edge.openai_errors import openai_broken_off, response_broken_off
from docuchat_gateway.edge.ports import Upstream
from docuchat_gateway.edge.relay import RelayedResponse
from docuchat_gateway.edge.requests import client_address, forwarded_headers, raw_target
from docuchat_gateway.edge.table import TABLE, Row
from docuchat_gateway.event_stream import BrokenOff, broken_off

_BODY_SECONDS = 30


def service_routes() -> list[Route]:
    """One route for each path of the table: plain ones, for nothing of the request is parsed here."""
    rows_of: defaultdict[str, list[Row]] = defaultdict(list)
    for row in TABLE:
        rows_of[row.path].append(row)
    return [
        Route(
            rows[0].route,
            _relay_by(rows),
            methods=[method for row in rows for method in row.methods],
            include_in_schema=False,
        )
        for rows in rows_of.values()
    ]


def _relay_by(rows: Sequence[Row]) -> Callable[[Request], Awaitable[Response]]:
    relays = {method: _relay_to(row) for row in rows for method in row.methods}

    async def relay(request: Request) -> Response:
        return await relays["GET" if request.method == "HEAD" else request.method](request)

    return relay


def _relay_to(row: Row) -> Callable[[Request], Awaitable[Response]]:
    async def relay(request: Request) -> Response:
        request.scope["route_template"] = row.path
        container = request.app.state.container
        settings = container.settings
        # the service verifies again; here a stranger is refused before he costs a connection
        following = identity = None
        try:
            if row.action == "operator":
                await container.verifier.verify_operator(bearer_token(request.headers))
            elif row.action != "public" or (row.may_sign_in and "authorization" in request.headers):
                identity = await container.verifier.verify(bearer_token(request.headers))
                assert_same_tenant(identity, request.headers.get(settings.tenant_header))
                if row.action != "public":
                    container.verifier.permit(identity, row.action, request.method)
                assert_same_origin(identity, request.headers)
                structlog.contextvars.bind_contextvars(tenant_id=identity.caller.tenant_id)
            body = await _body_of(request, row)
            if TURN in request.scope:
                await request.scope[TURN].take()
            if identity is not None:
                if body is not None:
                    container.verifier.recheck(identity, row.action, request.method)
                if row.slow:
                    following = container.verifier.standing.following(identity, request.method)
        except Forbidden:
            await note_refusal(request, row.path)
            raise
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        upstream: Upstream = getattr(container.upstreams, row.service)
        headers = forwarded_headers(request.headers)
        # limits and audit entries go by this address, which is believed because of the token
        headers["X-Forwarded-For"] = client_address(request.scope)
        headers[INTERNAL_HEADER] = settings.internal_token.get_secret_value()
        patience = settings.chat_timeout if row.slow else settings.upstream_timeout
        return RelayedResponse(
            upstream,
            request.method,
            raw_target(request.scope),
            headers=headers,
            body=body,
            patience=patience,
            request_id=request.scope.get("request_id"),
            following=following,
            closure=container.verifier.standing.closure if row.action == "public" else None,
            told=_broken_off(row),
        )

    return relay


async def _body_of(request: Request, row: Row) -> bytes | None:
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await read_bounded(request, row.max_bytes)
    except TimeoutError as error:
        raise SlowBody from error


def _broken_off(row: Row) -> BrokenOff:
    """Return how a stream of a path says that it breaks off."""
    if row.speaks != "openai":
        return broken_off
    return response_broken_off if row.path.startswith("/v1/responses") else openai_broken_off
