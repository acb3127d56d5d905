"""Headers that keep browsers from guessing, framing and leaking, on every answer that does not say otherwise."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAGES: Final = ("/invitation", "/reset-password")
"""Pages of ours for people without a front end."""
ASSETS_OF_PAGES: Final = "/pages"

_DOCUMENTATION: Final = ("/docs", "/redoc")
_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)
_NOTHING: Final = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
_OWN_SCRIPTS: Final = (
    b"content-security-policy",
    (
        b"default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; worker-src blob:; frame-ancestors 'none'"
    ),
)
_OWN_FILES: Final = (
    b"content-security-policy",
    (
        b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
)
_HTTPS_ONLY: Final = (b"strict-transport-security", b"max-age=31536000")


class SecurityHeaders:
    """Adds the headers; pages may run our own scripts, those of the documentation inline ones too, nothing else any."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = _OWN_SCRIPTS if scope["path"].startswith(_DOCUMENTATION) else _NOTHING
        if scope["path"] in PAGES:
            policy = _OWN_FILES
        added = [*_ALWAYS, policy, *([_HTTPS_ONLY] if scope["scheme"] == "https" else [])]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                names = {name.lower() for name, _ in given}
                message["headers"] = [*given, *(pair for pair in added if pair[0] not in names)]
            await send(message)

        await self._app(scope, receive, send_with_headers)
