"""How the gateway is served: as every service, with a WebSocket that can let go of a client which does not read."""

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from docuchat_common.http import server
from docuchat_gateway.settings import Settings


class DroppingWebSocketProtocol(WebSocketsSansIOProtocol):
    """Ends the connection when the application has ended while the client still takes nothing.

    A close would wait until the client has read what is buffered for it, which is what such a client does not do.
    """

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if not self.writable.is_set():
            self.transport.abort()


def gateway_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Uvicorn's configuration for the gateway."""
    config = server.server_config(app, settings)
    config.ws = DroppingWebSocketProtocol
    return config


def serve(app: ASGIApp, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    server.serve(app, settings, gateway_config(app, settings))
