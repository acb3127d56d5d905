"""Commands: take along what is kept of the tenant, or of one person."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.session import run, screen, with_client
from docuchat_client.identity import Export
from docuchat_client.rendering import size

Output = Annotated[Path | None, typer.Option("--output", "-o", help="The file to write; - is standard output.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Print the id and leave; fetch it later with --id.")]
Earlier = Annotated[str | None, typer.Option("--id", metavar="EXPORT", help="One that was asked for before.")]


def export_tenant(output: Output = None, no_wait: NoWait = False, earlier: Earlier = None) -> None:
    """Download an archive of EVERYTHING of the tenant, when it is made; for owners."""
    take_along(lambda client: client.export_tenant(), output, no_wait, earlier)


def export_user(
    user: Annotated[
        str | None, typer.Argument(metavar="EMAIL|ID", help="The address, user name or id; without it, oneself.")
    ] = None,
    output: Output = None,
    no_wait: NoWait = False,
    earlier: Earlier = None,
) -> None:
    """Download an archive of what is kept of one person, when it is made; chats are in one's own alone."""

    async def ask(client: AsyncDocuChat) -> Export:
        whose = await client.me() if user is None else await client.find_user(user)
        return await client.export_user(whose.id)

    take_along(ask, output, no_wait, earlier)


def take_along(
    ask: Callable[[AsyncDocuChat], Awaitable[Export]], output: Path | None, no_wait: bool, earlier: str | None
) -> None:
    """Ask for an archive unless there is an earlier one, wait for it, and write it to a file."""

    async def fetch(client: AsyncDocuChat) -> None:
        export_id = earlier or str((await ask(client)).id)
        if no_wait:
            screen.line(export_id)
            return
        target = output or Path(f"docuchat-{export_id}.zip")
        if output is None and target.exists():
            raise typer.BadParameter(f"{target} exists; name another file with --output", param_hint="--output")
        screen.note(f"The archive {export_id} is being made; interrupt as you like, --id {export_id} goes on.")
        ready = await client.wait_for_export(export_id)
        if output == Path("-"):
            await client.download_export(ready.id, sys.stdout.buffer)
            return
        screen.line(f"{target}: {size(await client.download_export(ready.id, target))}")

    run(with_client(fetch))
