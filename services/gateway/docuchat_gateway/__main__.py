"""`python -m docuchat_gateway`: the gateway's process."""

from docuchat_common.service_defaults import configure_observability
from docuchat_common.settings import load_settings
from docuchat_gateway.app import create_app
from docuchat_gateway.server import serve
from docuchat_gateway.settings import Settings


def main() -> None:
    """Read the settings once and serve."""
    settings = load_settings(Settings)
    configure_observability(settings, "gateway")
    serve(create_app(settings), settings)


if __name__ == "__main__":
    main()
