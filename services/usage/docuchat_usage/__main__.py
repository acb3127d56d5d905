"""`python -m docuchat_usage`: serve usage."""

from __future__ import annotations

from docuchat_common.http.server import serve
from docuchat_common.service_defaults import configure_observability
from docuchat_common.settings import load_settings
from docuchat_usage.app import create_app
from docuchat_usage.settings import Settings


def main() -> None:
    """Read the settings once and serve."""
    settings = load_settings(Settings)
    configure_observability(settings, "usage")
    serve(create_app(settings), settings)


if __name__ == "__main__":
    main()
