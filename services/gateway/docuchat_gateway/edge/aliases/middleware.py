"""Foreign paths become ours before anything looks at the request: limits, permissions and logs know only one name."""

from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import compile_path
from starlette.types import ASGIApp, Receive, Scope, Send

from docuchat_gateway.edge.aliases import chatbot_platform, indifly_chat
from docuchat_gateway.edge.aliases.adapting import AdaptedAnswer, AdaptedBody, without_length
from docuchat_gateway.edge.aliases.alias import Alias, Exchange

TABLE: Final = (*indifly_chat.ALIASES, *chatbot_platform.ALIASES)
_PLAIN: Final = {(method, alias.path): alias for alias in TABLE if "{" not in alias.path for method in alias.methods}
_WITH_PARAMETERS: Final = [(compile_path(alias.path)[0], alias) for alias in TABLE if "{" in alias.path]
_BEGINNINGS: Final = tuple({alias.path.partition("{")[0] for alias in TABLE})


class Aliases:
    """Takes a request at an alias for one at what it means."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_BEGINNINGS):
            await self._app(scope, receive, send)
            return
        alias, named = _meant(scope)
        if alias is not None:
            given = parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
            exchange = Exchange(scope["path"], named, dict(given))
            scope.update(_aimed(scope, alias, named))  # in its place: the log knows it by our name
            if alias.parameters:
                ours = [(alias.parameters.get(name, name), value) for name, value in given]
                scope["query_string"] = urlencode(ours).encode()
            if alias.asked is not None:
                without_length(scope)
                receive = AdaptedBody(receive, alias.asked, exchange)
            if alias.answered is not None:
                send = AdaptedAnswer(alias.answered, exchange, scope, send)
        await self._app(scope, receive, send)


def _meant(scope: Scope) -> tuple[Alias | None, dict[str, str]]:
    """The alias that a request is at, if any, with the parameters of its path."""
    path, method = scope["path"], scope["method"]
    if method == "OPTIONS":  # a browser asks first, for the method that it names
        method = Headers(scope=scope).get("access-control-request-method", "POST")
    if alias := _PLAIN.get((method, path)):
        return alias, {}
    for pattern, alias in _WITH_PARAMETERS:
        if method in alias.methods and (match := pattern.match(path)):
            return alias, match.groupdict()
    return None, {}


def _aimed(scope: Scope, alias: Alias, named: dict[str, str]) -> dict[str, Any]:
    """What of a request is another at the path that is meant."""
    ours = {alias.parameters.get(name, name): value for name, value in named.items()}
    raw_path = alias.target.format(**{name: quote(value, safe="") for name, value in ours.items()})
    aimed: dict[str, Any] = {"path": alias.target.format(**ours), "raw_path": raw_path.encode()}
    if alias.tenant is not None:
        headers = MutableHeaders(raw=list(scope["headers"]))
        headers[scope["app"].state.container.settings.tenant_header] = quote(named[alias.tenant])
        aimed["headers"] = headers.raw
    return aimed
