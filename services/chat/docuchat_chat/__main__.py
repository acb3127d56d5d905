"""`python -m docuchat_chat`: serve chat."""

from __future__ import annotations

from docuchat_chat.app import create_app
from docuchat_chat.settings import Settings
from docuchat_common.http.server import serve
from docuchat_common.service_defaults import configure_observability
from docuchat_common.settings import load_settings


def main() -> None:
    """Read the settings once and serve."""
    settings = load_settings(Settings)
    configure_observability(settings, "chat")
    serve(create_app(settings), settings)


if __name__ == "__main__":
    main()
