"""Foreign paths become ours before anything looks at the request: limits, permissions and logs know only one name."""

from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from docuchat_gateway.edge.aliases import chatbot_platform, indifly_chat

TABLE: Final = (*indifly_chat.ALIASES, *chatbot_platform.ALIASES)
_TARGETS: Final = {(method, alias.path): alias.target for alias in TABLE for method in alias.methods}


class Aliases:
    """Takes a request at an alias for one at what it means."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            method = "POST" if scope["method"] == "OPTIONS" else scope["method"]
            if target := _TARGETS.get((method, scope["path"])):
                scope = {**scope, "path": target, "raw_path": target.encode()}
        await self._app(scope, receive, send)
