"""Commands: documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.collections import collection_id
from docuchat_client.cli.session import (
    AsJson,
    Limit,
    Yes,
    confirm,
    print_json,
    run,
    screen,
    with_client,
)
from docuchat_client.models import Document, Page
from docuchat_client.rendering import counted, document_state, moment, one_line, size

files_app = typer.Typer(help="List, show, delete, retry and download documents.", no_args_is_help=True)


@files_app.command("list")
def list_files(
    limit: Limit = 20,
    status: Annotated[str | None, typer.Option(help="queued, processing, ready or failed.")] = None,
    q: Annotated[str | None, typer.Option("--search", help="Words of the title.")] = None,
    collection: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Only those of a collection.")] = None,
    as_json: AsJson = False,
) -> None:
    """List documents, newest first."""

    async def show(client: AsyncDocuChat) -> None:
        where = await collection_id(client, collection)
        show_documents(await client.documents(limit=limit, status=status, q=q, collection_id=where), as_json)

    run(with_client(show))


def show_documents(page: Page[Document], as_json: bool) -> None:
    """Show a page of documents."""
    if as_json:
        print_json(page)
        return
    rows = [
        (d.id, d.title or d.filename, size(d.size_bytes), document_state(d), moment(d.created_at)) for d in page.items
    ]
    screen.rows(("id", "title", "size", "state", "uploaded"), rows)
    if page.next_cursor:
        screen.note("There are more; raise --limit or narrow with --search.")


@files_app.command("show")
def show_file(document_id: str, as_json: AsJson = False) -> None:
    """Show one document."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.document(document_id)
        if as_json:
            print_json(found)
            return
        screen.line(found.title or found.filename, style="bold")
        screen.line(f"{found.filename}, {size(found.size_bytes)}, {found.media_type or 'unknown type'}")
        screen.line(document_state(found))
        screen.line(f"uploaded {moment(found.created_at)}, id {found.id}")

    run(with_client(show))


@files_app.command("delete")
def delete_file(document_id: str, yes: Yes = False) -> None:
    """Delete a document with all that was made of it."""
    if not yes:
        confirm(f"Delete document {document_id}?")
    receipt = run(with_client(lambda client: client.delete_document(document_id)))
    screen.line(f"Deleted {receipt.id} and {counted(receipt.chunks_deleted, 'chunk')} at {moment(receipt.deleted_at)}.")


@files_app.command("retry")
def retry_file(
    document_id: str,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is ready.")] = True,
) -> None:
    """Have a failed document ingested again."""

    async def retry(client: AsyncDocuChat) -> Document:
        document = await client.retry_document(document_id)
        if wait and not document.is_settled:
            document = await client.wait_until_settled(document.id)
        return document

    outcome = run(with_client(retry))
    screen.line(document_state(outcome))
    if outcome.status == "failed":
        raise typer.Exit(1)


@files_app.command("download")
def download_file(
    document_id: str,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; - is standard output.")
    ] = None,
) -> None:
    """Download the original file."""

    async def fetch(client: AsyncDocuChat) -> None:
        if output == Path("-"):
            await client.download(document_id, sys.stdout.buffer)
            return
        # The name is the uploader's: keep its last part only, so that it cannot lead elsewhere.
        name = Path((await client.document(document_id)).filename.replace("\\", "/")).name if output is None else None
        target = output or Path(one_line(name) or "document")
        if output is None and target.exists():
            raise typer.BadParameter(f"{target} exists; name another file with --output", param_hint="--output")
        written = await client.download(document_id, target)
        screen.line(f"{target}: {size(written)}")

    run(with_client(fetch))
