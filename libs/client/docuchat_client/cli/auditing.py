"""Commands: the audit log of a tenant for its admins, that of the installation for operators."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Annotated

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.operating import operate
from docuchat_client.cli.session import AsJson, Limit, print_json, run, screen, table, with_client
from docuchat_client.people import audit_filter

_COLUMNS = ("seq", "at", "actor_type", "actor_id", "action", "object_type", "object_id", "result", "detail")

Action = Annotated[str | None, typer.Option(help="Only this, such as document.delete.")]
About = Annotated[str | None, typer.Option("--object", help="Only about a type, or type:id.")]
Since = Annotated[datetime | None, typer.Option("--from", help="From this moment on.")]
Until = Annotated[datetime | None, typer.Option("--to", help="Before this moment.")]


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
        table([entry.model_dump(mode="json") for entry in page.items], as_json=False, columns=_COLUMNS)
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
    as_json: AsJson = False,
) -> None:
    """Show what operators and commands did, the latest first."""
    wanted = audit_filter(actor=actor, action=action, about=about, since=since, until=until)
    table(operate(context, lambda it: it.audit(limit, wanted)), as_json, _COLUMNS)


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
