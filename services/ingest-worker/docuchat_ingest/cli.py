"""The `docuchat-ingest` command: run the worker (the default), or replay what was given up."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from uuid import UUID

from docuchat_common.errors import DocuChatError
from docuchat_common.http.server import serve
from docuchat_common.service_defaults import configure_observability
from docuchat_common.settings import load_settings
from docuchat_ingest.app import create_app
from docuchat_ingest.bootstrap import replay
from docuchat_ingest.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(prog="docuchat-ingest", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="run the worker (the default)")
    again = commands.add_parser("replay", help="queue failed documents again and bring back dead-lettered tickets")
    again.add_argument("--document", type=UUID, help="only this document, whatever it failed for")
    options = parser.parse_args(arguments)
    settings = load_settings(Settings)
    configure_observability(settings, "ingest", command=options.command == "replay")
    if options.command != "replay":
        serve(create_app(settings), settings)
        return 0
    try:
        documents, tickets = asyncio.run(replay(settings, options.document))
    except DocuChatError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n")
        return 1
    if options.document and not documents:
        sys.stderr.write("document_not_failed: There is no failed document with this id.\n")
        return 1
    sys.stdout.write(f"{documents} documents queued again, {tickets} dead-lettered messages brought back\n")
    return 0
