"""What every process does first: logging, tracing, build information, in one call (shape of eShop.ServiceDefaults)."""

import sys
from importlib.metadata import version

from prometheus_client import Info

from docuchat_common.logging import configure_logging
from docuchat_common.settings import ServiceSettings
from docuchat_common.telemetry import configure_tracing

_build = Info("docuchat_build", "Which service and version this process is.")


def configure_observability(settings: ServiceSettings, service: str, *, command: bool = False) -> None:
    """Configure logs, traces and metrics of this process for `service` (its short name, e.g. ``chat``).

    A `command` keeps standard output for what it answers: its logs go to standard error.
    """
    configure_logging(
        service, level=settings.log_level, log_format=settings.log_format, stream=sys.stderr if command else None
    )
    configure_tracing(f"docuchat-{service}", settings.otel_exporter_otlp_endpoint)
    _build.info({"service": service, "version": version("docuchat-common")})
