"""Writes the services' OpenAPI documents into the gateway's package; `--check` names the stale ones and exits with 1.

It stands outside of the package because services import no service; it needs all of them installed.
"""

import sys
from importlib import import_module
from pathlib import Path

import orjson

FOLDER = Path(__file__).parents[1] / "docuchat_gateway" / "openapi"
SERVICES = ("auth", "chat", "usage")


def document_of(service: str) -> bytes:
    """The OpenAPI document that the service serves itself, in a form that diffs well."""
    settings_class = import_module(f"docuchat_{service}.settings").Settings
    # making the application opens nothing, so no setting needs a value here
    app = import_module(f"docuchat_{service}.app").create_app(settings_class.model_construct())
    return orjson.dumps(app.openapi(), option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def main() -> int:
    """Write or check; the exit status."""
    stale = []
    for service in SERVICES:
        path = FOLDER / f"{service}.json"
        document = document_of(service)
        if path.exists() and path.read_bytes() == document:
            continue
        stale.append(service)
        if "--check" not in sys.argv:
            path.write_bytes(document)
    if stale and "--check" in sys.argv:
        sys.stderr.write(f"stale: {', '.join(stale)}; run {Path(__file__).name}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
