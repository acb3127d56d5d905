"""Commands: one's API keys, and where one is signed in."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli import times
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, show_list, with_client
from docuchat_client.identity import IssuedApiKey
from docuchat_client.rendering import moment

_SESSION_COLUMNS = ("device", "address", "last_used_at", "expires_at", "is_current", "id")
_KEY_COLUMNS = ("name", "scopes", "role", "expires_at", "prefix", "id")

_SCOPES = (
    "documents.read, documents.add, documents.manage, collections.manage, chats.use, chats.follow, chatbots.read, "
    "chatbots.manage, models.use, mcp.use, usage.read, usage.manage, account.use, data.export, keys.use, keys.manage, "
    "users.read, users.manage, groups.manage, tenant.read, tenant.manage, tenant.own, audit.read, identity.manage, "
    "directory.sync, providers.manage"
)

keys_app = typer.Typer(help="API keys, for programs: DOCUCHAT_API_KEY takes one.", no_args_is_help=True)
sessions_app = typer.Typer(help="Where you are signed in.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(metavar="NAME|ID", help="The key's name, prefix or id.")]


@keys_app.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """List your keys; all of the tenant, if you manage them. With --json: when and from where each was used."""
    show_list(lambda client: client.api_keys(), as_json, _KEY_COLUMNS)


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help=f"What it may do; repeatable. One of: {_SCOPES}.")],
    expires: Annotated[
        datetime | None,
        typer.Option(metavar="2026-12-31|30d", help="When it ends; without, when it is revoked.", parser=times.coming),
    ] = None,
    address: Annotated[
        list[str] | None, typer.Option(metavar="192.0.2.0/24", help="It works from there only; repeatable.")
    ] = None,
    service: Annotated[bool, typer.Option("--service", help="It belongs to the tenant, not to you.")] = False,
    role: Annotated[
        Literal["owner", "admin", "member", "viewer"] | None, typer.Option(help="Of a service's key; else member.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an API key, and print its secret: this once."""
    made = run(
        with_client(
            lambda client: client.create_api_key(
                name, scope, expires_at=expires, addresses=address or (), service=service, role=role
            )
        )
    )
    _show_secret(made, as_json)


@keys_app.command("rotate")
def rotate_key(
    key: Named,
    overlap: Annotated[
        int | None, typer.Option(min=0, metavar="SECONDS", help="So long the older secret works on; an hour without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a key another secret, and print it: this once."""

    async def rotate(client: AsyncDocuChat) -> IssuedApiKey:
        return await client.rotate_api_key((await client.find_api_key(key)).id, overlap_seconds=overlap)

    made = run(with_client(rotate))
    _show_secret(made, as_json)
    older = [secret.ends_at for secret in made.secrets if secret.ends_at]
    if older and not as_json:
        screen.note(f"The older secret works until {moment(max(older))}.")


@keys_app.command("revoke")
def revoke_key(key: Named, yes: Yes = False) -> None:
    """End a key; it opens nothing any more within two seconds."""
    if not yes:
        confirm(f"Revoke {key}?")

    async def revoke(client: AsyncDocuChat) -> None:
        found = await client.find_api_key(key)
        await client.revoke_api_key(found.id)
        screen.line(f"{found.name} is revoked.")

    run(with_client(revoke))


def _show_secret(key: IssuedApiKey, as_json: bool) -> None:
    """The secret alone on standard output, so that a script can take it."""
    if as_json:
        print_json(key)
        return
    until = f" until {moment(key.expires_at)}" if key.expires_at else ""
    screen.note(f"{key.name} may {', '.join(key.scopes)}{until}. This is shown once; keep it as a password:")
    screen.line(key.secret)


@sessions_app.command("list")
def list_sessions(as_json: AsJson = False) -> None:
    """List your sign-ins that go on."""
    show_list(lambda client: client.sessions(), as_json, _SESSION_COLUMNS)


@sessions_app.command("end")
def end_session(
    session: Annotated[str | None, typer.Argument(metavar="ID", help="The id of one sign-in, or how it ends.")] = None,
    others: Annotated[bool, typer.Option("--others", help="All but this one.")] = False,
) -> None:
    """End a sign-in, or all others; what they had open ends within seconds."""
    if (session is None) != others:
        raise typer.BadParameter("say which: an id, or --others")

    async def end(client: AsyncDocuChat) -> None:
        if session is None:
            await client.end_other_sessions()
        else:
            await client.end_session((await client.find_session(session)).id)

    run(with_client(end))
    screen.line("Ended.")
