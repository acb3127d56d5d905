"""What the commands share: the screen, the kept sign-in, and failures as one line and an exit code."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import BaseModel

from docuchat_client.aio import DEFAULT_SERVER, AsyncDocuChat
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
    UnexpectedAnswer,
)
from docuchat_client.models import Model
from docuchat_client.operators import find_local_run
from docuchat_client.rendering import Screen, moment, one_line

T = TypeVar("T")
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_INTERRUPTED = 130
NO_ANSWER = 6
PATIENCE = 60.0
"""Seconds that a command waits when the service asks it to."""
_EXIT_CODES: tuple[tuple[type[DocuChatError], int], ...] = (
    (Unauthenticated, 3),
    (Forbidden, 3),
    (NotFound, 4),
    (QuotaExceeded, 5),
    (RateLimited, 5),
    (ConnectionFailed, NO_ANSWER),
    (ServiceUnavailable, NO_ANSWER),
)

_SAID_WRONG = {"invalid_code", "invalid_credentials", "otp_invalid", "invalid_invitation", "invalid_api_key"}
_SAID_BETTER = (
    re.compile(r"; it is reset at \S+$"),
    re.compile(r"[;,.] try again (shortly|later|in a moment|in \d+ s)$", re.IGNORECASE),
    re.compile(r"[;,.] (use the refresh token or )?sign in again$"),
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")

_SAID_BY_COMMANDS = {
    "second_factor_required": "Your tenant demands a second factor: set one up with `docuchat second-factor set-up`",
    "token_outdated": "Your sign-in was ended; sign in with `docuchat login`, or ask an admin",
    "session_ended": "Your sign-in was ended; sign in with `docuchat login`",
    "recent_sign_in_required": "This needs a sign-in of the last 15 minutes; `docuchat login`, then repeat it",
    "collection_not_empty": "The collection has documents; delete them first, or with it by --with-documents",
    "provider_key_needed": "Another address is not shown the stored key; give --ask-key together with --base-url",
    "slug_mismatch": "That is not the short name of your tenant; `docuchat tenant show` says it",
}
"""Where the service names a path or a parameter, by the error's code."""

screen = Screen()

AsJson = Annotated[bool, typer.Option("--json", help="Print the service's answer as JSON.")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="How many at most.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def exit_code(error: DocuChatError) -> int:
    """The exit code of a failure."""
    return next((code for kind, code in _EXIT_CODES if isinstance(error, kind)), 1)


def explained(error: DocuChatError) -> str:
    if error.code in _SAID_BY_COMMANDS:
        return f"{_SAID_BY_COMMANDS[error.code]} [{error.code}]"
    hint = ""
    if isinstance(error, Unauthenticated) and error.code not in _SAID_WRONG and "operator" not in error.code:
        hint = "; sign in with `docuchat login`"
    elif error.code == "choose_tenant":
        hint = f"; give --tenant: {', '.join(str(home.get('slug')) for home in error.details.get('tenants', ()))}"
    elif isinstance(error, QuotaExceeded) and error.resets_at:
        hint = f"; it starts anew at {error.resets_at}"
    elif error.retry_after:
        hint = f"; try again in {error.retry_after:.0f} s"
    said = one_line(error.message).rstrip(".")
    for advice in _SAID_BETTER if hint else ():  # the hint says the same, with the figure
        said = advice.sub("", said)
    return f"{_MOMENT.sub(_readable, said + hint)} [{error.code}]"


def _readable(found: re.Match[str]) -> str:
    return moment(datetime.fromisoformat(found[0]))


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run to the end; a failure becomes one line on standard error and an exit code."""
    try:
        return asyncio.run(coroutine)
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None
    except DocuChatError as error:
        screen.fail(explained(error))
        raise typer.Exit(exit_code(error)) from error
    except BrokenPipeError:  # `… | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except OSError as error:
        screen.fail(": ".join(filter(None, (str(error.filename or ""), error.strerror or str(error)))))
        raise typer.Exit(1) from error


def confirm(question: str) -> None:
    """Go on only when whoever is asked agrees."""
    try:
        typer.confirm(question, abort=True)
    except typer.Abort:
        if not sys.stdin.isatty():
            screen.fail("nobody agreed; give --yes where nobody can be asked")
            raise typer.Exit(1) from None
        raise


def local_server() -> str:
    """The address of a local run in this folder or above it, else where a product is expected."""
    with contextlib.suppress(Unauthenticated, OSError):  # a file that is broken, or another account's
        found = find_local_run(Path.cwd())
        if found and urlsplit(found.server).hostname in LOCAL_HOSTS:
            return found.server
    return DEFAULT_SERVER


def note_local_mail(server: str) -> None:
    """Say where a mail is that was not sent."""
    if urlsplit(server).hostname in LOCAL_HOSTS:
        screen.note("A local product that sends no mail shows it where `make run` runs.")


def note_wait(seconds: float) -> None:
    """Say why nothing happens."""
    if seconds >= 1:
        screen.note(f"Too many requests in a minute: waiting {seconds:.0f} s, as the service asks.")


def make_client(*, patience: float = PATIENCE) -> AsyncDocuChat:
    """A client with the kept sign-in; `DOCUCHAT_API_KEY`, `DOCUCHAT_TOKEN` and `DOCUCHAT_SERVER` stand above it."""
    store: CredentialStore = FileCredentials()
    token = os.environ.get("DOCUCHAT_API_KEY") or os.environ.get("DOCUCHAT_TOKEN")
    kept = store.load()
    server = os.environ.get("DOCUCHAT_SERVER") or (kept.server if kept else local_server())
    tenant = os.environ.get("DOCUCHAT_TENANT") or (kept.tenant if kept else None)
    if token:
        store = MemoryCredentials(Credentials(server=server, tenant=tenant, access_token=token))
    elif kept is not None and kept.server != server.rstrip("/"):
        raise Unauthenticated(f"You are signed in at {kept.server}, not at {server}.", code="other_server")
    return AsyncDocuChat(server, tenant=tenant, credentials=store, longest_wait=patience, on_wait=note_wait)


async def with_client(action: Callable[[AsyncDocuChat], Coroutine[Any, Any, T]], *, patience: float = PATIENCE) -> T:
    async with make_client(patience=patience) as client:
        try:
            return await action(client)
        except (ConnectionFailed, UnexpectedAnswer) as error:
            here = local_server()
            if here in (DEFAULT_SERVER, client.base_url) or urlsplit(client.base_url).hostname not in LOCAL_HOSTS:
                raise
            message = f"{error.message} The product of this folder is at {here}: sign in there with `docuchat login`."
            raise type(error)(message, code=error.code) from error


def table(items: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...] | None = None) -> None:
    """Show a list: as JSON, else those members of each item that are columns."""
    if as_json:
        screen.json(json.dumps(items, indent=2))
        return
    if not items:
        screen.note("There are none.")
        return
    columns = columns or tuple(dict.fromkeys(name for item in items for name in item))
    screen.rows(columns, [[_cell(item.get(name)) for name in columns] for item in items])


def _cell(value: Any) -> Any:
    """A member as it is shown: whole amounts without decimals, thousands apart; a moment to the minute."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, str) and _MOMENT.fullmatch(value):
        return moment(datetime.fromisoformat(value))
    if isinstance(value, float):
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    return value


def show_list(
    of: Callable[[AsyncDocuChat], AsyncIterator[Model]], as_json: bool, columns: tuple[str, ...] | None = None
) -> None:
    """Show all that a client lists."""

    async def collect(client: AsyncDocuChat) -> list[dict[str, Any]]:
        return [item.model_dump(mode="json") async for item in of(client)]

    table(run(with_client(collect)), as_json, columns)


def print_json(model: BaseModel) -> None:
    screen.json(model.model_dump_json(indent=2))
