"""Writes the OpenAPI document that the gateway serves to standard output."""

import sys

import orjson

from docuchat_gateway.app import create_app
from docuchat_gateway.settings import Settings


def main() -> None:
    """Write it."""
    # making the application opens nothing, so only the setting that it reads needs a value
    document = create_app(Settings.model_construct(frontend_origin="")).openapi()
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
