"""Commands: the tenant itself, and its domains of mail."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.exporting import export_tenant
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, table, with_client
from docuchat_client.identity import Domain, Retention, TenantSettings
from docuchat_client.rendering import moment

tenant_app = typer.Typer(help="Your tenant: settings for admins, its end for owners.", no_args_is_help=True)
domains_app = typer.Typer(help="Domains of mail that are your company's; for admins.", no_args_is_help=True)

Named = Annotated[str, typer.Argument(metavar="DOMAIN|ID")]


@tenant_app.command("show")
def show_tenant(as_json: AsJson = False) -> None:
    """Show the tenant and its settings."""
    _tell(run(with_client(lambda client: client.tenant_settings())), as_json)


@tenant_app.command("set")
def set_tenant(
    name: Annotated[str | None, typer.Option(help="For people.")] = None,
    signup: Annotated[
        Literal["invite", "domains"] | None, typer.Option(help="Who joins uninvited: nobody, or people of --domain.")
    ] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Proven, with --signup domains; repeatable.")] = None,
    chats: Annotated[
        str | None, typer.Option("--keep-chats", metavar="DAYS|none", help="After their last message; none: for ever.")
    ] = None,
    documents: Annotated[
        str | None, typer.Option("--keep-documents", metavar="DAYS|none", help="After their upload; none: for ever.")
    ] = None,
    second_factor: Annotated[
        bool | None, typer.Option("--second-factor/--no-second-factor", help="Whether everybody must have one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Change what is given; what is older than it is to be kept is deleted.

    To keep less is for owners, soon after `docuchat login`, and begins days later.
    """
    kept = {"chats_days": chats, "documents_days": documents}
    retention = {unit: _days(text) for unit, text in kept.items() if text is not None}
    if name is None and signup is None and second_factor is None and not retention:
        raise typer.BadParameter("say what is to change, such as --name or --keep-chats; --help names all")
    changed = run(
        with_client(
            lambda client: client.change_tenant(
                name=name,
                signup=signup,
                domains=domain or None,
                retention=retention or None,
                require_second_factor=second_factor,
            )
        )
    )
    _tell(changed, as_json)


tenant_app.command("export")(export_tenant)


@tenant_app.command("delete")
def delete_tenant(
    slug: Annotated[
        str | None, typer.Option("--confirm", metavar="SLUG", help="The tenant's short name; asked for without.")
    ] = None,
) -> None:
    """Have EVERYTHING of the tenant erased, after a time of grace in which it can only be read."""
    given = slug or str(typer.prompt("This erases everything of your tenant. Its short name, to go on"))
    gone = run(with_client(lambda client: client.delete_tenant(given)))
    screen.line(f"{gone.name} is erased at {moment(gone.deletes_at)}; `docuchat tenant restore` takes that back.")


@tenant_app.command("restore")
def restore_tenant() -> None:
    """Take the deletion of the tenant back."""

    async def restore(client: AsyncDocuChat) -> str:
        was = await client.tenant_settings()
        kept = await client.restore_tenant()
        return f"{kept.name} stays." if was.deletes_at else f"{kept.name} stays; nobody had asked for its deletion."

    screen.line(run(with_client(restore)))


@domains_app.command("list")
def list_domains(as_json: AsJson = False) -> None:
    """List domains, and since when they are proven."""

    async def show(client: AsyncDocuChat) -> None:
        found = [domain.model_dump(mode="json") async for domain in client.domains()]
        table(found, as_json, ("domain", "verified_at", "id"))

    run(with_client(show))


@domains_app.command("add")
def add_domain(domain: Annotated[str, typer.Argument(help="Exactly this one.")], as_json: AsJson = False) -> None:
    """Begin to prove a domain: print the DNS record to publish."""
    made = run(with_client(lambda client: client.add_domain(domain)))
    if as_json:
        print_json(made)
        return
    screen.note("Publish this record, then: docuchat domains verify " + made.domain)
    screen.line(f"{made.record.name} {made.record.type} {made.record.value}")


@domains_app.command("verify")
def verify_domain(domain: Named) -> None:
    """Look for the record of a domain."""

    async def verify(client: AsyncDocuChat) -> Domain:
        return await client.verify_domain((await client.find_domain(domain)).id)

    screen.line(f"{run(with_client(verify)).domain} is proven.")


@domains_app.command("remove")
def remove_domain(domain: Named, yes: Yes = False) -> None:
    """Give a domain up."""
    if not yes:
        confirm(f"Give {domain} up?")

    async def remove(client: AsyncDocuChat) -> Domain:
        found = await client.find_domain(domain)
        await client.delete_domain(found.id)
        return found

    screen.line(f"{run(with_client(remove)).domain} is given up.")


def _days(text: str) -> int | None:
    if text == "none":
        return None
    if not text.isdecimal():
        raise typer.BadParameter(f"{text} is no number of days; none is for ever")
    return int(text)


def _tell(tenant: TenantSettings, as_json: bool) -> None:
    if as_json:
        print_json(tenant)
        return
    screen.line(f"{tenant.name} (tenant {tenant.id}, {tenant.slug}), {tenant.state}", style="bold")
    if tenant.deletes_at:
        screen.line(f"erased at {moment(tenant.deletes_at)}")
    screen.line(f"sign-up: {tenant.signup}{' ' + ', '.join(tenant.domains) if tenant.domains else ''}")
    if tenant.require_second_factor:
        screen.line("everybody must have a second factor")
    _tell_kept(tenant.retention)
    if tenant.next_retention and tenant.retention_changes_at:
        _tell_kept(tenant.next_retention, f"from {moment(tenant.retention_changes_at)} ")


def _tell_kept(retention: Retention, when: str = "") -> None:
    for what, days in (("chats", retention.chats_days), ("documents", retention.documents_days)):
        screen.line(f"{when}{what} are kept {f'{days} days' if days else 'for ever'}")
