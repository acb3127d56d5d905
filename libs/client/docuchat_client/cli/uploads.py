"""Command: upload documents, and watch them become ready."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol, Self

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from docuchat_client import bodies
from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.collections import collection_id
from docuchat_client.cli.session import (
    exit_code,
    explained,
    run,
    screen,
    with_client,
)
from docuchat_client.errors import DocuChatError, RateLimited, ServiceUnavailable
from docuchat_client.models import Document
from docuchat_client.rendering import document_state, one_line, shortened, size

_PARALLEL_UPLOADS = 4
_MOST_BARS = 8
_NAME_WIDTH = 24
_PATIENCE = 5.0
_LONGEST_WAIT = 900.0  # seconds in a row that a file waits because the service asks for patience


class Send(Protocol):
    """Sends one file."""

    def __call__(self, file: Path, /, *, on_progress: bodies.Progress, idempotency_key: str) -> Awaitable[Document]: ...


class _UploadView:
    """The progress of uploads: one line a file when it is done; on a terminal, bars below of what is in work."""

    def __init__(self, files: list[Path]) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[Path, TaskID] = {}
        self._settled = 0
        self._count = len(files)
        if screen.is_terminal:
            self._bars = Progress(
                TextColumn("{task.fields[file]}", markup=False, table_column=Column(width=_NAME_WIDTH, no_wrap=True)),
                BarColumn(bar_width=12, table_column=Column(width=12)),
                TextColumn(
                    "{task.fields[state]}",
                    markup=False,
                    table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
                ),
                console=screen.out,
                expand=True,
                transient=True,
            )
            self._total = self._bars.add_task("", total=self._count, file="all", state=self._tally())

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def sent(self, path: Path, done: int, total: int) -> None:
        self._show(path, done, total or 1, f"sending {size(done)} of {size(total)}")

    def waiting(self, path: Path, seconds: float) -> None:
        self._show(path, 0, None, f"waiting {seconds:.0f} s, as the service asks")

    def changed(self, path: Path, document: Document) -> None:
        if document.status == "queued":
            self._hide(path)  # however many wait, the bars are of what is in work
        elif document.status == "processing":
            self._show(path, document.pages_done or 0, document.pages or None, document_state(document))

    def ended(self, path: Path, document: Document) -> None:
        where = "" if self._bars else f" [{document.id}]"
        self._end(path, f"{document_state(document)}{where}")

    def failed(self, path: Path, error: DocuChatError) -> None:
        self._end(path, f"failed: {explained(error)}")

    def _show(self, path: Path, done: int, total: int | None, state: str) -> None:
        if self._bars is None:
            return
        if path not in self._tasks:
            if len(self._tasks) >= _MOST_BARS:
                return
            self._tasks[path] = self._bars.add_task("", file=shortened(path.name, _NAME_WIDTH), state=state)
        self._bars.update(self._tasks[path], completed=done, total=total, state=state)

    def _hide(self, path: Path) -> None:
        if self._bars and path in self._tasks:
            self._bars.remove_task(self._tasks.pop(path))

    def _end(self, path: Path, outcome: str) -> None:
        self._hide(path)
        self._settled += 1
        screen.line(f"{one_line(path.name)}: {outcome}")
        if self._bars:
            self._bars.update(self._total, completed=self._settled, state=self._tally())

    def _tally(self) -> str:
        return f"{self._settled} of {self._count} done"


async def _patiently(send: Callable[[], Awaitable[Document]], on_wait: Callable[[float], None]) -> Document:
    """Send, and again for as long as the service asks to wait; a quota that is used up is no such case."""
    waited = 0.0
    while True:
        try:
            return await send()
        except (RateLimited, ServiceUnavailable) as error:
            if error.retry_after is None or waited + error.retry_after > _LONGEST_WAIT:
                raise
            waited += error.retry_after
            on_wait(error.retry_after)
            await asyncio.sleep(error.retry_after)


def upload(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True)],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the documents can be asked.")] = True,
    title: Annotated[str | None, typer.Option(help="The title, for a single file.")] = None,
    collection: Annotated[
        str | None, typer.Option(metavar="NAME|ID", help="Where they belong; else the tenant's own.")
    ] = None,
) -> None:
    """Upload documents, and watch them become ready."""

    async def begin(client: AsyncDocuChat) -> Send:
        where = await collection_id(client, collection)
        return partial(client.upload, title=title, collection_id=where)

    upload_all(files, begin, wait=wait, title=title)


def upload_all(
    files: list[Path],
    begin: Callable[[AsyncDocuChat], Awaitable[Send]],
    *,
    wait: bool,
    title: str | None,
) -> None:
    """Send files, some at once, each by what `begin` gives; show what becomes of each."""
    if title is not None and len(files) > 1:
        raise typer.BadParameter("takes a single file", param_hint="--title")
    paths = list(dict.fromkeys(files))

    async def send(client: AsyncDocuChat) -> list[DocuChatError | Document]:
        upload_one = await begin(client)
        places = asyncio.Semaphore(_PARALLEL_UPLOADS)
        with _UploadView(paths) as view:

            async def one(path: Path) -> DocuChatError | Document:
                key = str(uuid.uuid4())
                try:
                    async with places:
                        document = await _patiently(
                            lambda: upload_one(
                                path,
                                on_progress=lambda done, total: view.sent(path, done, total),
                                idempotency_key=key,
                            ),
                            lambda seconds: view.waiting(path, seconds),
                        )
                    view.changed(path, document)
                    if wait and not document.is_settled:
                        document = await client.wait_until_settled(
                            document.id, on_change=lambda changed: view.changed(path, changed)
                        )
                except DocuChatError as error:
                    view.failed(path, error)
                    return error
                view.ended(path, document)
                return document

            return await asyncio.gather(*(one(path) for path in paths))

    outcomes = run(with_client(send, patience=_PATIENCE))  # longer waits are its own, and shown by its bars
    errors = [outcome for outcome in outcomes if isinstance(outcome, DocuChatError)]
    states = Counter("failed" if isinstance(outcome, DocuChatError) else outcome.status for outcome in outcomes)
    if len(paths) > 1:
        screen.note(f"{len(paths)} files: {', '.join(f'{count} {state}' for state, count in sorted(states.items()))}.")
    if len(errors) == len(outcomes):
        raise typer.Exit(exit_code(errors[0]))
    if states["failed"]:
        raise typer.Exit(1)
