"""Structured logs: JSON lines for machines, coloured lines on a terminal; one format for our code and for libraries."""

import logging
import sys
from typing import Literal, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

_SECRET_KEYS = frozenset(
    {
        "authorization",
        "cookie",
        "password",
        "secret",
        "token",
        "access_token",
        "refresh_token",
        "api_key",
        "x-internal-token",
    }
)


def _redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    return {key: "[redacted]" if key.lower() in _SECRET_KEYS else value for key, value in event.items()}


def configure_logging(
    service: str,
    *,
    level: str = "INFO",
    log_format: Literal["auto", "json", "pretty"] = "auto",
    stream: TextIO | None = None,
) -> None:
    """Send structlog and the standard library's loggers to `stream`, with the service's name on every line.

    Context bound by the HTTP and AMQP edges (request_id, trace_id, tenant_id) is merged into every event.
    """
    stream = stream or sys.stdout
    pretty = log_format == "pretty" or (log_format == "auto" and stream.isatty())

    def add_service(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_service,
        _redact,
    ]
    final: list[Processor] = (
        # plain tracebacks: rich ones print local variables, which hold tokens and users' text, and take seconds
        [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # access lines come from our own middleware, which knows the route and leaves out the query string
    for name, library_level in {
        "uvicorn.access": logging.ERROR,
        "uvicorn.error": logging.WARNING,
        "httpx2": logging.WARNING,
        "httpcore2": logging.WARNING,
        "openai": logging.WARNING,
        "aio_pika": logging.ERROR,
        "aiormq": logging.CRITICAL,
        "alembic": logging.WARNING,
        "asyncpg": logging.ERROR,  # its pool warns each second, with a traceback, while the server is away
    }.items():
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(library_level)
