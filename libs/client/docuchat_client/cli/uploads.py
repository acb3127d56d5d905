"""Command: upload documents, and watch them become ready."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Self

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.session import (
    exit_code,
    explained,
    run,
    screen,
    with_client,
)
from docuchat_client.errors import DocuChatError
from docuchat_client.models import Document
from docuchat_client.rendering import document_state, one_line, size

_PARALLEL_UPLOADS = 4


class _UploadView:
    """The progress of uploads: a bar for each file on a terminal, a line for each step elsewhere."""

    def __init__(self, files: list[Path]) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[Path, TaskID] = {}
        self._said: dict[Path, str] = {}
        if screen.is_terminal:
            self._bars = Progress(
                TextColumn("{task.fields[file]}", markup=False),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[state]}", markup=False),
                console=screen.out,
            )
            for path in files:
                name = one_line(path.name)
                self._tasks[path] = self._bars.add_task("", total=None, start=True, file=name, state="waiting")

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def sent(self, path: Path, done: int, total: int) -> None:
        if self._bars:
            state = f"sending {size(done)} of {size(total)}"
            self._bars.update(self._tasks[path], completed=done, total=total or 1, state=state)

    def changed(self, path: Path, document: Document) -> None:
        state = document_state(document)
        if self._bars:
            total = document.pages or None
            done = total or 1 if document.is_settled else document.pages_done or 0
            if document.is_settled:
                total = total or 1
            self._bars.update(self._tasks[path], completed=done, total=total, state=state)
        elif self._said.get(path) != document.status:
            self._said[path] = document.status
            screen.line(f"{path.name}: {state} [{document.id}]")

    def failed(self, path: Path, error: DocuChatError) -> None:
        if self._bars:
            self._bars.update(self._tasks[path], total=1, completed=1, state=f"failed: {explained(error)}")
        else:
            screen.line(f"{path.name}: failed: {explained(error)}")


def upload(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True)],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the documents can be asked.")] = True,
    title: Annotated[str | None, typer.Option(help="The title, for a single file.")] = None,
    collection: Annotated[str | None, typer.Option(help="The collection's id.")] = None,
) -> None:
    """Upload documents, and watch them become ready."""
    if title is not None and len(files) > 1:
        raise typer.BadParameter("takes a single file", param_hint="--title")
    paths = list(dict.fromkeys(files))

    async def send(client: AsyncDocuChat) -> list[DocuChatError | Document]:
        places = asyncio.Semaphore(_PARALLEL_UPLOADS)
        with _UploadView(paths) as view:

            async def one(path: Path) -> DocuChatError | Document:
                try:
                    async with places:
                        document = await client.upload(
                            path,
                            title=title,
                            collection_id=collection,
                            on_progress=lambda done, total: view.sent(path, done, total),
                        )
                    view.changed(path, document)
                    if wait and not document.is_settled:
                        document = await client.wait_until_settled(
                            document.id, on_change=lambda changed: view.changed(path, changed)
                        )
                except DocuChatError as error:
                    view.failed(path, error)
                    return error
                return document

            return await asyncio.gather(*(one(path) for path in paths))

    outcomes = run(with_client(send))
    errors = [outcome for outcome in outcomes if isinstance(outcome, DocuChatError)]
    if len(errors) == len(outcomes):
        raise typer.Exit(exit_code(errors[0]))
    if errors or any(isinstance(outcome, Document) and outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)
