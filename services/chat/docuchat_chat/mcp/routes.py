"""HTTP of the Model Context Protocol."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from docuchat_chat.mcp.server import McpServer
from docuchat_common.acts import excuse_act
from docuchat_common.audit import audited
from docuchat_common.errors import PayloadTooLarge
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import LONG_BODY, JsonRoute, read_bounded
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises
from docuchat_common.http.provided import provided

router = APIRouter(route_class=JsonRoute, tags=["mcp"])

_MESSAGE: Final = {"schema": {"type": "object"}}
_ANSWERS: Final[Responses] = {
    200: {
        "description": "A JSON-RPC response, or a stream of server-sent events that ends with it",
        "content": {"application/json": _MESSAGE, "text/event-stream": {"schema": {"type": "string"}}},
    },
    202: {"description": "A notification was taken"},
    400: {"description": "No message of the protocol", "content": {"application/json": _MESSAGE}},
    406: {"description": "`Accept` must name application/json and text/event-stream"},
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object"},
                "example": {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
            }
        },
    }
}


@router.post(
    "/mcp",
    summary="Model Context Protocol",
    response_class=Response,
    responses=_ANSWERS,
    openapi_extra=_BODY,
)
@raises(PayloadTooLarge)
@audited("chat.ask")
async def model_context_protocol(
    request: Request,
    caller: Annotated[Caller, requires("mcp.use")],
    server: Annotated[McpServer, provided("mcp")],
) -> Response:
    """Take one JSON-RPC message of the Model Context Protocol (streamable HTTP), for assistants and editors.

    Tools: `search`, `ask`, `list_documents`, `get_passage`; `tools/list` names those that the credential allows.
    Nothing is kept between two messages, and there is no stream of the server's own: GET is 405.
    """
    body = await read_bounded(request, LONG_BODY) or b""
    excuse_act()  # a question's entry is written when its answer is settled
    return await server.answer(caller, request.headers, body)
