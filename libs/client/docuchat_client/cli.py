"""The command `docuchat`.

| exit code | when |
|---|---|
| 0 | done |
| 1 | failed; also when a document could not be ingested |
| 2 | wrong usage |
| 3 | not signed in, or not allowed |
| 4 | no such object |
| 5 | limit or quota reached |
| 6 | the service cannot be reached |
| 130 | interrupted |
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import BaseModel
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from docuchat_client.aio import DEFAULT_SERVER, AsyncDocuChat
from docuchat_client.answers import AnswerStream
from docuchat_client.credentials import Credentials, CredentialStore, FileCredentials, MemoryCredentials
from docuchat_client.errors import (
    ConnectionFailed,
    DocuChatError,
    Forbidden,
    NotFound,
    QuotaExceeded,
    RateLimited,
    ServiceUnavailable,
    Unauthenticated,
)
from docuchat_client.models import Document
from docuchat_client.rendering import Screen, document_state, moment, one_line, pages, size, usage_rows

T = TypeVar("T")
_PARALLEL_UPLOADS = 4
_DEFAULT_TENANT = "1"
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_INTERRUPTED = 130
_EARLY_ENDS = {
    "length": "The answer was cut: it reached the longest length that is allowed.",
    "stopped": "The answer was stopped.",
    "content_filter": "The answer was cut by the model's filter.",
}
_EXIT_CODES: tuple[tuple[type[DocuChatError], int], ...] = (
    (Unauthenticated, 3),
    (Forbidden, 3),
    (NotFound, 4),
    (QuotaExceeded, 5),
    (RateLimited, 5),
    (ConnectionFailed, 6),
    (ServiceUnavailable, 6),
)

app = typer.Typer(
    name="docuchat",
    help="Ask your documents.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not signed in or not allowed, 4 no such object, "
    "5 limit or quota reached, 6 service cannot be reached, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
chats_app = typer.Typer(help="List, show, rename and delete chats.", no_args_is_help=True)
files_app = typer.Typer(help="List, show, delete, retry and download documents.", no_args_is_help=True)
app.add_typer(chats_app, name="chats")
app.add_typer(files_app, name="files")
screen = Screen()

AsJson = Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON.")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="How many at most.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def main() -> None:
    """Run the command line."""
    app()


def exit_code(error: DocuChatError) -> int:
    """The exit code of a failure."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def _explained(error: DocuChatError) -> str:
    hint = ""
    if isinstance(error, Unauthenticated) and error.code != "code_invalid":
        hint = "; sign in with `docuchat login`"
    elif isinstance(error, QuotaExceeded) and error.resets_at:
        hint = f"; it starts anew at {error.resets_at}"
    elif error.retry_after:
        hint = f"; try again in {error.retry_after:.0f} s"
    return f"{one_line(error.message).rstrip('.')}{hint} [{error.code}]"


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end; a failure becomes one line on standard error and an exit code."""
    try:
        return asyncio.run(coroutine)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except DocuChatError as error:
        screen.fail(_explained(error))
        raise typer.Exit(exit_code(error)) from error
    except OSError as error:
        screen.fail(": ".join(filter(None, (str(error.filename or ""), error.strerror or str(error)))))
        raise typer.Exit(1) from error


def _client() -> AsyncDocuChat:
    """A client with the kept sign-in; `DOCUCHAT_TOKEN` and `DOCUCHAT_SERVER` stand above it."""
    store: CredentialStore = FileCredentials()
    token = os.environ.get("DOCUCHAT_TOKEN")
    kept = store.load()
    server = os.environ.get("DOCUCHAT_SERVER") or (kept.server if kept else DEFAULT_SERVER)
    tenant = os.environ.get("DOCUCHAT_TENANT") or (kept.tenant if kept else None)
    if token:
        store = MemoryCredentials(Credentials(server=server, tenant=tenant, access_token=token))
    elif kept is not None and kept.server != server.rstrip("/"):
        raise Unauthenticated(f"You are signed in at {kept.server}, not at {server}.", code="other_server")
    return AsyncDocuChat(server, tenant=tenant, credentials=store)


async def _with_client(action: Callable[[AsyncDocuChat], Coroutine[Any, Any, T]]) -> T:
    async with _client() as client:
        return await action(client)


def _json(model: BaseModel) -> None:
    screen.json(model.model_dump_json(indent=2))


@app.command()
def login(
    email: Annotated[str | None, typer.Option(envvar="DOCUCHAT_EMAIL", help="Your address.")] = None,
    tenant: Annotated[str, typer.Option(envvar="DOCUCHAT_TENANT", help="Number or short name.")] = _DEFAULT_TENANT,
    server: Annotated[str, typer.Option(envvar="DOCUCHAT_SERVER", help="The service's address.")] = DEFAULT_SERVER,
    code: Annotated[str | None, typer.Option(help="A code that was sent already; none is requested then.")] = None,
) -> None:
    """Sign in with a code that comes by e-mail."""
    address = email or typer.prompt("E-mail")

    async def sign_in() -> None:
        async with AsyncDocuChat(server, tenant=tenant, credentials=FileCredentials()) as client:
            if code is None:
                sent = await client.request_code(address)
                minutes = f", good for {sent.expires_in // 60} minutes" if sent.expires_in else ""
                screen.note(f"A code was sent to {address}{minutes}.")
                if urlsplit(server).hostname in _LOCAL_HOSTS:
                    screen.note("A local product that sends no mail shows it where `make run` runs.")
            await client.verify_code(address, code or str(typer.prompt("Code")))
            user = await client.me()
            screen.line(f"Signed in as {user.email} ({user.role}) at {user.tenant.name}.")

    _run(sign_in())


@app.command()
def logout() -> None:
    """Sign out and forget the tokens."""
    _run(_with_client(lambda client: client.logout()))
    screen.line("Signed out.")


@app.command()
def whoami(as_json: AsJson = False) -> None:
    """Show who is signed in, and where."""

    async def show(client: AsyncDocuChat) -> None:
        user = await client.me()
        if as_json:
            _json(user)
        else:
            tenant = user.tenant
            screen.line(f"{user.email} ({user.role}) at {tenant.name} (tenant {tenant.id}, {tenant.slug})")
            screen.line(client.base_url)

    _run(_with_client(show))


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
            self._bars.update(self._tasks[path], total=1, completed=1, state=f"failed: {_explained(error)}")
        else:
            screen.line(f"{path.name}: failed: {_explained(error)}")


@app.command()
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

    outcomes = _run(_with_client(send))
    errors = [outcome for outcome in outcomes if isinstance(outcome, DocuChatError)]
    if len(errors) == len(outcomes):
        raise typer.Exit(exit_code(errors[0]))
    if errors or any(isinstance(outcome, Document) and outcome.status == "failed" for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know; - reads it from standard input.")],
    chat: Annotated[str | None, typer.Option(help="The chat to go on with.")] = None,
    document: Annotated[list[str] | None, typer.Option(help="Search this document only; may be repeated.")] = None,
    model: Annotated[str | None, typer.Option(help="The model, when the service allows another.")] = None,
    channel: Annotated[Literal["websocket", "sse"], typer.Option(help="How the answer comes.")] = "websocket",
    as_json: AsJson = False,
) -> None:
    """Ask a question; the answer streams, its citations follow."""
    text = sys.stdin.read() if question == "-" else question

    async def whole(client: AsyncDocuChat) -> None:
        _json(await client.ask(text, chat_id=chat, model=model, document_ids=document))

    async def streamed(client: AsyncDocuChat) -> None:
        async with client.stream(text, chat_id=chat, model=model, document_ids=document, channel=channel) as answer:
            try:
                await _show(answer)
            except asyncio.CancelledError:
                with suppress(DocuChatError, TimeoutError):
                    async with asyncio.timeout(2):
                        await answer.stop()
                raise

    _run(_with_client(whole if as_json else streamed))


async def _show(answer: AnswerStream) -> None:
    words = answer.text()
    with screen.out.status("Reading …") if screen.is_terminal else nullcontext():
        first = await anext(words, "")
    try:
        screen.words(first)
        async for word in words:
            screen.words(word)
    finally:
        screen.words("\n")
    if answer.citations:
        screen.line()
        screen.citations(answer.citations)
    if early := _EARLY_ENDS.get(answer.finish_reason or ""):
        screen.note(early)
    if answer.chat_id is not None and screen.is_terminal:
        screen.note(f"\nGo on with: docuchat ask --chat {answer.chat_id} …")


@app.command()
def search(
    query: str,
    limit: Limit = 6,
    document: Annotated[str | None, typer.Option(help="Search this document only.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the passages that a question would be answered from."""

    async def show(client: AsyncDocuChat) -> None:
        results = await client.search(query, limit=limit, document_id=document)
        if as_json:
            screen.json("[" + ",\n".join(result.model_dump_json() for result in results) + "]")
            return
        for number, result in enumerate(results, 1):
            where = ", ".join(filter(None, (one_line(result.title), pages(result.page, result.page_to))))
            screen.line(f"{number}. {where}  {result.score:.3f}", style="bold")
            screen.line(f"   {one_line(result.text)[:300]}")
        if not results:
            screen.note("Nothing was found.")

    _run(_with_client(show))


@app.command()
def usage(as_json: AsJson = False) -> None:
    """Show tokens, cost and what is left of the quota."""

    async def show(client: AsyncDocuChat) -> None:
        figures = await client.usage()
        if as_json:
            _json(figures)
            return
        screen.rows(("", "input", "output", "embedding", "total", "cost"), usage_rows(figures))
        quota = figures.quota
        if quota is not None and quota.tokens is not None and quota.tokens.limit is not None:
            left = quota.tokens.remaining if quota.tokens.remaining is not None else 0
            screen.line(f"{left:,} of {quota.tokens.limit:,} tokens left until {moment(quota.resets_at)}".rstrip())

    _run(_with_client(show))


@files_app.command("list")
def list_files(
    limit: Limit = 20,
    status: Annotated[str | None, typer.Option(help="queued, processing, ready or failed.")] = None,
    q: Annotated[str | None, typer.Option("--search", help="Words of the title.")] = None,
    as_json: AsJson = False,
) -> None:
    """List documents, newest first."""

    async def show(client: AsyncDocuChat) -> None:
        page = await client.documents(limit=limit, status=status, q=q)
        if as_json:
            _json(page)
            return
        rows = [
            (d.id, d.title or d.filename, size(d.size_bytes), document_state(d), moment(d.created_at))
            for d in page.items
        ]
        screen.rows(("id", "title", "size", "state", "uploaded"), rows)
        if page.next_cursor:
            screen.note("There are more; raise --limit or narrow with --search.")

    _run(_with_client(show))


@files_app.command("show")
def show_file(document_id: str, as_json: AsJson = False) -> None:
    """Show one document."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.document(document_id)
        if as_json:
            _json(found)
            return
        screen.line(found.title or found.filename, style="bold")
        screen.line(f"{found.filename}, {size(found.size_bytes)}, {found.media_type or 'unknown type'}")
        screen.line(document_state(found))
        screen.line(f"uploaded {moment(found.created_at)}, id {found.id}")

    _run(_with_client(show))


@files_app.command("delete")
def delete_file(document_id: str, yes: Yes = False) -> None:
    """Delete a document with all that was made of it."""
    if not yes:
        typer.confirm(f"Delete document {document_id}?", abort=True)
    receipt = _run(_with_client(lambda client: client.delete_document(document_id)))
    screen.line(f"Deleted {receipt.id} and {receipt.chunks_deleted} chunks at {receipt.deleted_at.isoformat()}.")


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

    outcome = _run(_with_client(retry))
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

    _run(_with_client(fetch))


@chats_app.command("list")
def list_chats(
    limit: Limit = 20,
    q: Annotated[str | None, typer.Option("--search", help="Words to look for.")] = None,
    as_json: AsJson = False,
) -> None:
    """List chats, newest first."""

    async def show(client: AsyncDocuChat) -> None:
        page = await client.chats(limit=limit, q=q)
        if as_json:
            _json(page)
            return
        rows = [(c.id, c.title, c.message_count, moment(c.updated_at or c.created_at)) for c in page.items]
        screen.rows(("id", "title", "messages", "last change"), rows)
        if page.next_cursor:
            screen.note("There are more; raise --limit or narrow with --search.")

    _run(_with_client(show))


@chats_app.command("show")
def show_chat(chat_id: str, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Show a chat's messages."""

    async def show(client: AsyncDocuChat) -> None:
        chat = await client.chat(chat_id, limit=limit)
        if as_json:
            _json(chat)
            return
        screen.line(chat.title or str(chat.id), style="bold")
        for message in chat.messages:
            screen.line()
            screen.line(f"{message.role}, {moment(message.created_at)}", style="bold")
            screen.line(message.content)
            screen.citations(message.citations)

    _run(_with_client(show))


@chats_app.command("rename")
def rename_chat(chat_id: str, title: str) -> None:
    """Give a chat another title."""
    chat = _run(_with_client(lambda client: client.rename_chat(chat_id, title)))
    screen.line(f"{chat.id}: {chat.title}")


@chats_app.command("delete")
def delete_chat(chat_id: str, yes: Yes = False) -> None:
    """Delete a chat and its messages."""
    if not yes:
        typer.confirm(f"Delete chat {chat_id}?", abort=True)
    _run(_with_client(lambda client: client.delete_chat(chat_id)))
    screen.line(f"Deleted {chat_id}.")


if __name__ == "__main__":
    main()
