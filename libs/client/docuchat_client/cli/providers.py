"""Commands: the identity providers by which a company's people sign in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, table, with_client
from docuchat_client.identity import IdentityProvider

providers_app = typer.Typer(
    help="How your company's people sign in (OpenID Connect); for admins.", no_args_is_help=True
)

Named = Annotated[str, typer.Argument(metavar="NAME|ID")]
Secret = Annotated[
    str | None,
    typer.Option(help="Better in DOCUCHAT_CLIENT_SECRET.", envvar="DOCUCHAT_CLIENT_SECRET", show_envvar=False),
]
Scopes = Annotated[list[str] | None, typer.Option("--scope", help="Besides openid; repeatable.")]
Joins = Annotated[bool | None, typer.Option("--join/--no-join", help="Whether who is new becomes a user.")]
JoinRole = Annotated[Literal["admin", "member", "viewer"] | None, typer.Option(help="Of who is new.")]
JoinDomains = Annotated[
    list[str] | None, typer.Option("--join-domain", help="Only people with a confirmed address there; repeatable.")
]
Claim = Annotated[str | None, typer.Option(help="With the names of somebody's groups.")]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", metavar="VALUE=GROUP", help="Who has the value is in the group; repeatable."),
]
Roles = Annotated[
    list[str] | None, typer.Option("--role", metavar="VALUE=ROLE", help="Who has the value has the role; repeatable.")
]
LinksOwners = Annotated[
    bool | None, typer.Option("--link-owners/--no-link-owners", help="Owners' accounts, too; only an owner may say so.")
]


@providers_app.command("list")
def list_providers(as_json: AsJson = False) -> None:
    """List identity providers."""

    async def show(client: AsyncDocuChat) -> None:
        found = [one.model_dump(mode="json") async for one in client.identity_providers()]
        table(found, as_json, ("name", "issuer", "active", "id"))

    run(with_client(show))


@providers_app.command("show")
def show_provider(provider: Named, as_json: AsJson = False) -> None:
    """Show one, with what is to be registered at it."""
    _tell(run(with_client(lambda client: client.find_identity_provider(provider))), as_json)


@providers_app.command("add")
def add_provider(
    name: Annotated[str, typer.Argument(help="For people.")],
    issuer: Annotated[str, typer.Option(help="As its tokens say it, such as https://login.example.com/acme.")],
    client_id: Annotated[str, typer.Option()],
    client_secret: Secret = None,
    scope: Scopes = None,
    join: Joins = None,
    join_role: JoinRole = None,
    join_domain: JoinDomains = None,
    groups_claim: Claim = None,
    group: Groups = None,
    role: Roles = None,
    link_owners: LinksOwners = None,
    as_json: AsJson = False,
) -> None:
    """Add an identity provider, and print what is to be registered at it."""

    async def add(client: AsyncDocuChat) -> IdentityProvider:
        given = _given(client_secret, scope, groups_claim, link_owners) | await _mapped(client, group, role)
        given |= _joining({}, join, join_role, join_domain)
        return await client.add_identity_provider(name, issuer, client_id, given)

    _tell(run(with_client(add)), as_json)


@providers_app.command("change")
def change_provider(
    provider: Named,
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    client_id: Annotated[str | None, typer.Option()] = None,
    client_secret: Secret = None,
    scope: Scopes = None,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="Whether people sign in by it.")] = None,
    join: Joins = None,
    join_role: JoinRole = None,
    join_domain: JoinDomains = None,
    groups_claim: Claim = None,
    group: Groups = None,
    role: Roles = None,
    link_owners: LinksOwners = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given. With --group or --role those replace all mappings; it holds at the next sign-in."""

    async def change(client: AsyncDocuChat) -> IdentityProvider:
        found = await client.find_identity_provider(provider)
        plain = {"name": name, "client_id": client_id, "active": active}
        given = {key: value for key, value in plain.items() if value is not None}
        given |= _given(client_secret, scope, groups_claim, link_owners) | await _mapped(client, group, role)
        given |= _joining(found.jit.model_dump(), join, join_role, join_domain)
        if not given:
            raise typer.BadParameter("say what is to change, such as --inactive or --client-secret; --help names all")
        return await client.change_identity_provider(found.id, given)

    _tell(run(with_client(change)), as_json)


@providers_app.command("remove")
def remove_provider(provider: Named, yes: Yes = False) -> None:
    """Take an identity provider away; accounts stay."""
    if not yes:
        confirm(f"Nobody signs in by {provider} any more?")

    async def remove(client: AsyncDocuChat) -> IdentityProvider:
        found = await client.find_identity_provider(provider)
        await client.remove_identity_provider(found.id)
        return found

    screen.line(f"{run(with_client(remove)).name} is removed.")


def _given(secret: str | None, scopes: list[str] | None, claim: str | None, links: bool | None) -> dict[str, Any]:
    given = {"client_secret": secret, "scopes": scopes or None, "groups_claim": claim, "links_owners": links}
    return {name: value for name, value in given.items() if value is not None}


def _joining(
    present: dict[str, Any], enabled: bool | None, role: str | None, domains: list[str] | None
) -> dict[str, Any]:
    given = {"enabled": enabled, "default_role": role, "domains": domains or None}
    changed = {name: value for name, value in given.items() if value is not None}
    return {"jit": present | changed} if changed else {}


async def _mapped(client: AsyncDocuChat, groups: list[str] | None, roles: list[str] | None) -> dict[str, Any]:
    if not groups and not roles:
        return {}
    mappings: dict[str, dict[str, Any]] = {}
    for value, group in map(_pair, groups or ()):
        mappings.setdefault(f"{value}={group}", {"value": value})["group_id"] = str((await client.find_group(group)).id)
    for value, role in map(_pair, roles or ()):
        mappings[f"{value}:{role}"] = {"value": value, "role": role}
    return {"group_mappings": list(mappings.values())}


def _pair(text: str) -> tuple[str, str]:
    value, sign, given = text.rpartition("=")
    if not sign or not value or not given:
        raise typer.BadParameter(f"{text!r} is no VALUE=NAME")
    return value, given


def _tell(provider: IdentityProvider, as_json: bool) -> None:
    if as_json:
        print_json(provider)
        return
    screen.line(f"{provider.name} ({provider.id}), {'active' if provider.active else 'inactive'}", style="bold")
    screen.line(f"issuer: {provider.issuer}, client {provider.client_id}")
    screen.line(f"register there: {provider.redirect_uri}")
    screen.line(f"sign-in begins at: {provider.start_url}")
    if provider.jit.enabled:
        people = f"people of {', '.join(provider.jit.domains)}" if provider.jit.domains else "whoever it lets in"
        screen.line(f"{people} join as {provider.jit.default_role}")
    for one in provider.group_mappings:
        given = [f"group {one.group_id}" if one.group_id else "", f"role {one.role}" if one.role else ""]
        screen.line(f"{provider.groups_claim} {one.value}: {', '.join(filter(None, given))}")
