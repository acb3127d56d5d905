"""`python -m docuchat_ingest`: run the worker."""

from docuchat_common.http.server import serve
from docuchat_common.service_defaults import configure_observability
from docuchat_common.settings import load_settings
from docuchat_ingest.app import create_app
from docuchat_ingest.settings import Settings


def main() -> None:
    settings = load_settings(Settings)
    configure_observability(settings, "ingest")
    serve(create_app(settings), settings)


if __name__ == "__main__":
    main()
