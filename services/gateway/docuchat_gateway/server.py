"""How the gateway is served: as every service, with a WebSocket that can let go of a client which does not read."""

import uvicorn
from starlette.types import ASGIApp

from docuchat_common.http import server
from docuchat_common.http.patience import PatientSocketProtocol
from docuchat_gateway.settings import Settings


def gateway_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Uvicorn's configuration for the gateway."""

    class WebSocket(PatientSocketProtocol):
        SEND_SECONDS = settings.socket_send.total_seconds()

    config = server.server_config(app, settings)
    config.ws = WebSocket
    return config


def serve(app: ASGIApp, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    server.serve(app, settings, gateway_config(app, settings))
