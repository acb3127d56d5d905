"""Commands: the audit log of a tenant for its admins, that of the installation for operators."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli import times
from docuchat_client.cli.operating import operate
from docuchat_client.cli.session import AsJson, Limit, print_json, run, screen, table, with_client
from docuchat_client.errors import DocuChatError
from docuchat_client.people import audit_filter

_SHORT_COLUMNS = ("at", "actor", "action", "object", "result", "detail")
_MOST_NAMES = 500
_WHEN = "2026-12-31|30d"
_COLUMNS = ("seq", "at", "actor_type", "actor_id", "action", "object_type", "object_id", "result", "detail")

Action = Annotated[str | None, typer.Option(help="Only this, such as document.delete.")]
About = Annotated[str | None, typer.Option("--object", help="Only about a type, or type:id.")]
Since = Annotated[
    datetime | None, typer.Option("--from", metavar=_WHEN, help="From this moment on.", parser=times.past)
]
Until = Annotated[datetime | None, typer.Option("--to", metavar=_WHEN, help="Before this moment.", parser=times.past)]


def audit(
    actor: Annotated[str | None, typer.Option(metavar="EMAIL|ID", help="Only what this user or key did.")] = None,
    action: Action = None,
    about: About = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    as_csv: Annotated[bool, typer.Option("--csv", help="All of it, as CSV.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show who did what in the tenant, the latest first; for admins."""

    async def show(client: AsyncDocuChat) -> None:
        whose = str((await client.find_user(actor)).id) if actor and "@" in actor else actor
        wanted = audit_filter(actor=whose, action=action, about=about, since=since, until=until)
        if as_csv:
            await client.audit_csv(sys.stdout.buffer, wanted)
            return
        page = await client.audit(wanted, limit=limit)
        if as_json:
            print_json(page)
            return
        entries = [entry.model_dump(mode="json") for entry in page.items]
        _show_entries(entries, await _names(client, entries) if screen.is_terminal else {})
        if page.next_cursor:
            screen.note("There are more; raise --limit, narrow with --from and --action, or take all with --csv.")

    run(with_client(show))


def audit_installation(
    context: typer.Context,
    actor: Annotated[str | None, typer.Option(metavar="ID", help="Only what this operator did.")] = None,
    action: Action = None,
    about: About = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 20,
    everything: Annotated[bool, typer.Option("--all", help="Also that operators signed in, as each command does.")] = (
        False
    ),
    as_json: AsJson = False,
) -> None:
    """Show what operators and commands did, the latest first."""
    wanted = audit_filter(actor=actor, action=action, about=about, since=since, until=until)
    without = () if everything or action else ("operator.sign_in",)
    entries = operate(context, lambda it: it.audit(limit, wanted, without=without))
    if as_json:
        table(entries, as_json)
    else:
        _show_entries(entries, {})


def _show_entries(entries: list[dict[str, Any]], names: dict[str, str]) -> None:
    """A line each on a terminal, with names for ids; elsewhere every member."""
    if not screen.is_terminal:
        table(entries, as_json=False, columns=_COLUMNS)
        return
    table([_short(entry, names) for entry in entries], as_json=False, columns=_SHORT_COLUMNS)


def _short(entry: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    def called(kind: str, what: str | None) -> str:
        return names.get(what or "") or f"{kind} {what or ''}".strip()

    return {
        "at": entry["at"],
        "actor": called(entry["actor_type"], entry.get("actor_id")),
        "action": entry["action"],
        "object": called(entry["object_type"], entry.get("object_id")),
        "result": None if entry["result"] == "done" else entry["result"],
        "detail": entry.get("detail"),
    }


async def _names(client: AsyncDocuChat, entries: list[dict[str, Any]]) -> dict[str, str]:
    """What the people and keys of entries are called, as far as they are still there."""
    ids = {entry[of] for entry in entries for of in ("actor_id", "object_id")} - {None}
    names: dict[str, str] = {}

    async def note(called: AsyncIterator[tuple[UUID, str]]) -> None:
        seen = 0
        with suppress(DocuChatError):  # a log without names is one all the same
            async for thing, name in called:
                seen += 1
                if str(thing) in ids:
                    names[str(thing)] = name
                if seen == _MOST_NAMES or ids <= names.keys():
                    break

    await note((user.id, user.called) async for user in client.users())
    if any(entry["actor_type"] == "key" or entry["object_type"] == "api_key" for entry in entries):
        await note((key.id, f"key {key.name}") async for key in client.api_keys())
    return names


def verify_audit(
    context: typer.Context,
    tenant: Annotated[str | None, typer.Option(help="Its id or slug; the installation's own log without.")] = None,
) -> None:
    """Look whether an audit log holds: ends with 1 when an entry was changed, added or taken away."""
    found = operate(context, lambda it: it.verify_audit(tenant))
    for one in found["breaks"]:
        screen.fail(f"entry {one['seq']}: {one['reason']}")
    screen.line(f"{found['checked']} entries, the last is {found['head_seq']}, hash {found['head_hash']}")
    if not found["holds"]:
        raise typer.Exit(1)
