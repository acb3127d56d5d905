"""The protocol, by the official SDK. Imported at the first request: some 20 MB of classes that most never need."""

from __future__ import annotations

import logging
from importlib.metadata import version
from typing import Any, Final

import structlog
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    ToolAnnotations,
)
from mcp_types import Tool as ListedTool
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.requests import Request

from docuchat_chat.mcp.domain import Call, Tell
from docuchat_chat.mcp.refusing import invalid, told
from docuchat_chat.mcp.tools import INSTRUCTIONS, Tool, Toolbox
from docuchat_common.errors import DocuChatError, Forbidden
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.json_body import LONG_BODY, without_surplus
from docuchat_common.http.refusals import Refusals

logger = structlog.get_logger()

CALLER: Final = "docuchat.caller"
"""In the scope of a request: who makes it."""
CALL_NAME: Final = "docuchat.call_name"
"""In the scope of a request: under which name a notification cancels it, or None."""
ERROR: Final = "docuchat/error"
"""In the `_meta` of a result that is an error: its code and facts."""
_READ_ONLY: Final = ToolAnnotations(
    read_only_hint=True, destructive_hint=False, idempotent_hint=False, open_world_hint=False
)
# What the SDK logs quotes what clients send. What happens in a tool is logged here.
_SILENT: Final = logging.CRITICAL + 1

Context = ServerRequestContext[Any, Request]


def make_manager(tools: Toolbox, refusals: Refusals) -> StreamableHTTPSessionManager:
    """Return what serves the requests: any process serves each, for none keeps anything of a client."""
    logging.getLogger("mcp").setLevel(_SILENT)
    handlers = _Handlers(tools, refusals)
    server: Server[Any] = Server(
        "docuchat",
        title="DocuChat",
        version=version("docuchat-chat"),
        instructions=INSTRUCTIONS,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
    )
    server.middleware.clear()  # our own traces know the request already
    # Which pages may call, and by which name of the host, is the gateway's to judge: here it is the only client.
    return StreamableHTTPSessionManager(
        server, stateless=True, security_settings=None, max_request_body_size=LONG_BODY, max_sessions=1
    )


class _Handlers:
    def __init__(self, tools: Toolbox, refusals: Refusals) -> None:
        self._tools = tools
        self._refusals = refusals

    async def list_tools(self, context: Context, _: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_listed(tool) for tool in self._tools.of(_caller_of(context))])

    async def call_tool(self, context: Context, asked: CallToolRequestParams) -> CallToolResult:
        caller = _caller_of(context)
        tool = next((tool for tool in self._tools.of(caller) if tool.name == asked.name), None)
        try:
            if tool is None:
                if not self._tools.knows(asked.name):
                    raise MCPError(INVALID_PARAMS, "There is no such tool; tools/list names those that there are.")
                raise NotAllowed
            try:
                arguments = tool.arguments.model_validate(without_surplus(asked.arguments or {}, tool.arguments))
            except ValidationError as error:
                raise invalid(error) from error
            found = await tool.run(_call_of(context, caller), arguments)
        except DocuChatError as error:
            if isinstance(error, Forbidden) and context.request is not None:
                self._refusals.note(context.request, caller, "/mcp")
            text, facts = told(error)
            return _refused(text, facts)
        except MCPError:
            raise
        except Exception:
            logger.exception("mcp.tool_failed")
            text = "internal_error: Something went wrong on our side; it is logged. Try again later."
            return _refused(text, {"code": "internal_error"})
        told_whole = TextContent(type="text", text=found.model_dump_json())
        return CallToolResult(content=[told_whole], structured_content=found.model_dump(mode="json"))


def _listed(tool: Tool) -> ListedTool:
    return ListedTool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=_READ_ONLY,
    )


def _refused(text: str, facts: dict[str, Any]) -> CallToolResult:
    # Not as structured content: some clients hold that to the tool's schema even where it is an error.
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True, _meta={ERROR: facts})


def _caller_of(context: Context) -> Caller:
    assert context.request is not None  # there is no other way in than HTTP
    caller: Caller = context.request.scope[CALLER]
    return caller


def _call_of(context: Context, caller: Caller) -> Call:
    assert context.request is not None
    wants_progress = "progressToken" in ((context.params or {}).get("_meta") or {})
    return Call(
        caller,
        tell=_tell(context) if wants_progress else None,
        name=context.request.scope.get(CALL_NAME),
        ends_with_its_stream=context.protocol_version in MODERN_PROTOCOL_VERSIONS,
    )


def _tell(context: Context) -> Tell:
    async def tell(progress: float, message: str) -> None:
        await context.session.report_progress(progress, message=message)

    return tell
