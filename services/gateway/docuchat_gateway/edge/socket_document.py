"""AsyncAPI 3.1 document of `WS /ws/chat`, made of the classes that its frames are written with.

https://www.asyncapi.com/docs/reference/specification/v3.1.0
"""

from functools import cache
from importlib.metadata import version
from typing import Any, Final, get_args

from fastapi import APIRouter
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema
from starlette.responses import JSONResponse

from docuchat_common.contracts.frames import ClientMessage, DeltaFrame, EndFrame, ErrorFrame, SourcesFrame, StartFrame
from docuchat_gateway.edge.session import CLOSE_CODES
from docuchat_gateway.edge.socket import PATH, SUBPROTOCOL

FRAMES: Final[tuple[type[BaseModel], ...]] = (StartFrame, SourcesFrame, DeltaFrame, EndFrame, ErrorFrame)
MESSAGES: Final[tuple[type[BaseModel], ...]] = get_args(ClientMessage)
_CHANNEL: Final = "chat"
_DESCRIPTION: Final = f"""\
Questions and streamed answers over one socket. The client sends a question, resumes a turn after the last delta that it
has, or stops one; the server sends the frames of each turn: `start`, `sources`, `delta` as often as text arrives, then
`end` or `error`. Every frame carries `turn_id`, and the `id` of the client's message that caused it, if it had one.

The token goes as `Authorization: Bearer`, as the sub-protocols `{SUBPROTOCOL}, <token>`, or as `?token=`; the tenant is
the token's. Text frames only, each one JSON object. Fields may be added to frames: ignore those that you do not know.

"""

router = APIRouter(include_in_schema=False)


@router.get("/asyncapi.json")
async def asyncapi() -> JSONResponse:
    return JSONResponse(socket_document())


@cache
def socket_document() -> dict[str, Any]:
    """Server, channel, messages and operations, as the server sees them: it receives messages and sends frames."""
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [(each, "validation") for each in MESSAGES]
    modes += [(each, "serialization") for each in FRAMES]
    _, schemas = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    codes = "".join(f"- {code}: {when}\n" for code, when in CLOSE_CODES.items())
    return {
        "asyncapi": "3.1.0",
        "id": "urn:docuchat:socket",
        "defaultContentType": "application/json",
        "info": {
            "title": "DocuChat conversations",
            "version": version("docuchat-gateway"),
            "description": f"{_DESCRIPTION}Close codes:\n\n{codes}",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "tags": [{"name": "chat"}],
        },
        "servers": {
            "gateway": {
                "host": "{host}",
                "protocol": "ws",
                "description": "The gateway; `wss` where it is behind TLS.",
                "variables": {"host": {"default": "localhost:8000"}},
                "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("bearer", "query")],
            }
        },
        "channels": {
            _CHANNEL: {
                "address": PATH,
                "title": "A conversation",
                "servers": [{"$ref": "#/servers/gateway"}],
                "messages": {
                    each.__name__: {"$ref": f"#/components/messages/{each.__name__}"} for each in (*MESSAGES, *FRAMES)
                },
            }
        },
        "operations": {
            "receiveMessage": _operation("receive", "What a client sends", MESSAGES),
            "sendFrame": _operation("send", "What the server sends", FRAMES),
        },
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "An access token or an API key."},
                "query": {
                    "type": "httpApiKey",
                    "name": "token",
                    "in": "query",
                    "description": "An access token, where no header can be set.",
                },
            },
            "messages": {each.__name__: _message(each) for each in (*MESSAGES, *FRAMES)},
            "schemas": schemas["$defs"],
        },
    }


def _operation(action: str, summary: str, classes: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    return {
        "action": action,
        "title": summary,
        "summary": summary,
        "description": f"{summary}: one of {', '.join(each.__name__ for each in classes)}.",
        "tags": [{"name": "chat"}],
        "channel": {"$ref": f"#/channels/{_CHANNEL}"},
        "messages": [{"$ref": f"#/channels/{_CHANNEL}/messages/{each.__name__}"} for each in classes],
    }


def _message(each: type[BaseModel]) -> dict[str, Any]:
    return {
        "name": each.__name__,
        "title": each.__name__,
        "summary": (each.__doc__ or "").strip().split("\n", 1)[0],
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{each.__name__}"},
    }
