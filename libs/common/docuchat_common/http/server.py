"""Run an application under uvicorn, with bounded, graceful shutdown.

Each process answers on two ports: a public one (HOST:PORT, or a socket handed over in LISTEN_FD by a supervisor, which
several processes may share), and METRICS_PORT, which is its own and tells its state and its metrics to operators.
"""

import asyncio
import gc
import math
import os
import socket

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from docuchat_common.http.patience import PatientHttpProtocol
from docuchat_common.settings import ServiceSettings

_MANAGEMENT_PATHS = frozenset({"/livez", "/readyz", "/healthz", "/metrics"})
_NOT_FOUND = (
    {"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain; charset=utf-8")]},
    {"type": "http.response.body", "body": b"Not found. Metrics are on the port that METRICS_PORT names.\n"},
)


class Exposed:
    """The part of an application that one port shows."""

    def __init__(self, app: ASGIApp, *, management: bool) -> None:
        """`management` shows state and metrics and nothing else; without it everything but the metrics is shown."""
        self._app = app
        self._management = management

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what this port shows; anything else is 404."""
        path = scope.get("path")
        shown = path in _MANAGEMENT_PATHS if self._management else path != "/metrics"
        if shown or scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:
            for message in _NOT_FOUND:
                await send(message)


def server_config(app: ASGIApp, settings: ServiceSettings) -> uvicorn.Config:
    """Uvicorn's configuration for a service: our logging, no server banner, WebSocket frames of at most 1 MB."""

    class Http(PatientHttpProtocol):
        SEND_SECONDS = settings.client_stall.total_seconds()

    return uvicorn.Config(
        Exposed(app, management=False),
        host=settings.host,
        port=settings.port,
        http=Http,
        log_config=None,
        access_log=False,
        server_header=False,
        # uvicorn alone would believe X-Forwarded-For of any local caller; the variable, its own, names who is believed
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace.total_seconds()),
        timeout_keep_alive=65,
        ws_max_size=2**20,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        ws_per_message_deflate=False,
    )


class Server(uvicorn.Server):
    """Uvicorn's server with the management port beside it.

    What was loaded at start is left out of garbage collection, which then collects less often: a full collection would
    walk 160,000 objects that stay for good, 200 ms when busy, in the midst of the streams.
    """

    def __init__(self, config: uvicorn.Config, management: uvicorn.Config | None = None) -> None:
        super().__init__(config)
        self._management = uvicorn.Server(management) if management else None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start both ports, then set aside what is there."""
        await super().startup(sockets)
        if self._management is not None:
            config = self._management.config
            config.load()
            self._management.lifespan = config.lifespan_class(config)
            await self._management.startup()
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)

    FAREWELL_SECONDS = 3.0
    """How long idle connections are still answered on after the last new one was taken. Longer than a client of ours
    keeps one (`KEEP_ALIVE`), so that none is closed while a request is on its way to it."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop the public port first: an operator sees the process until it is gone.

        uvicorn closes idle connections at once, on which a client may just be sending its next request. They get a
        time in which an answer says that it is the last. It counts as grace, which streams get as well.
        """
        for server in self.servers:
            server.close()
        for given in sockets or []:
            given.close()
        loop = asyncio.get_running_loop()
        began = loop.time()
        while loop.time() - began < self.FAREWELL_SECONDS and not self.force_exit:
            if not self._say_farewell():
                break
            await asyncio.sleep(0.05)
        grace = self.config.timeout_graceful_shutdown
        if grace is not None:
            self.config.timeout_graceful_shutdown = max(1, math.ceil(grace - (loop.time() - began)))
        await super().shutdown(sockets)
        if self._management is not None and self._management.started:
            await self._management.shutdown()

    def _say_farewell(self) -> bool:
        """Make the next answer of each connection its last; whether any connection waits for a request."""
        idle = 0
        for connection in list(self.server_state.connections):
            if isinstance(connection, PatientHttpProtocol):
                idle += connection.say_farewell()
        return idle > 0


def serve(app: ASGIApp, settings: ServiceSettings, config: uvicorn.Config | None = None) -> None:
    """Serve until SIGTERM or SIGINT; running requests get `shutdown_grace` to end."""
    management = uvicorn.Config(
        Exposed(app, management=True),
        host=settings.metrics_host,
        port=settings.metrics_port,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
    )
    server = Server(config or server_config(app, settings), management if settings.metrics_port else None)
    server.run([socket.socket(fileno=settings.listen_fd)] if settings.listen_fd is not None else None)
