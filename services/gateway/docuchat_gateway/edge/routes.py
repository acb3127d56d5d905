"""The paths of the services behind, from the table."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from docuchat_common.http.identity import INTERNAL_HEADER, assert_same_tenant, bearer_token
from docuchat_common.http.json_body import read_bounded
from docuchat_gateway.edge.errors import SlowBody
from docuchat_gateway.edge.ports import Upstream
from docuchat_gateway.edge.relay import RelayedResponse
from docuchat_gateway.edge.requests import client_address, forwarded_headers, raw_target
from docuchat_gateway.edge.table import TABLE, Row

_BODY_SECONDS = 30


def service_routes() -> list[Route]:
    """One route for each row of the table: plain ones, for nothing of the request is parsed here."""
    return [Route(row.path, _relay_to(row), methods=row.methods, include_in_schema=False) for row in TABLE]


def _relay_to(row: Row) -> Callable[[Request], Awaitable[Response]]:
    async def relay(request: Request) -> Response:
        request.scope["route_template"] = row.path
        container = request.app.state.container
        settings = container.settings
        # the service verifies again; here a stranger is refused before he costs a connection
        match row.audience:
            case "tenant":
                identity = await container.verifier.verify(bearer_token(request.headers))
                assert_same_tenant(identity, request.headers.get(settings.tenant_header))
                structlog.contextvars.bind_contextvars(tenant_id=identity.caller.tenant_id)
            case "operator":
                await container.verifier.verify_operator(bearer_token(request.headers))
            case "public":
                pass
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await read_bounded(request, row.max_bytes)
        except TimeoutError as error:
            raise SlowBody from error
        except ClientDisconnect:
            return Response(status_code=400)  # nobody reads it
        upstream: Upstream = getattr(container.upstreams, row.service)
        headers = forwarded_headers(request.headers)
        if row.service == "auth":
            # auth limits sign-in by address, and believes this one because of the token
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
        )

    return relay
