"""Commands: groups of users."""

from __future__ import annotations

from typing import Annotated

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, show_list, table, with_client

groups_app = typer.Typer(help="Groups, which collections can be opened to; for admins.", no_args_is_help=True)

Group = Annotated[str, typer.Argument(metavar="NAME|ID")]
Person = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="A user: the address, user name or id.")]


@groups_app.command("list")
def list_groups(as_json: AsJson = False) -> None:
    """List groups."""
    show_list(lambda client: client.groups(), as_json, ("name", "members", "created_at", "id"))


@groups_app.command("create")
def create_group(name: str, as_json: AsJson = False) -> None:
    """Make a group, without members yet."""
    made = run(with_client(lambda client: client.create_group(name)))
    if as_json:
        print_json(made)
    else:
        screen.line(f"Group {made.name} [{made.id}]")


@groups_app.command("rename")
def rename_group(group: Group, name: str) -> None:
    """Give a group another name."""

    async def rename(client: AsyncDocuChat) -> None:
        changed = await client.rename_group((await client.find_group(group)).id, name)
        screen.line(f"Group {changed.name} [{changed.id}]")

    run(with_client(rename))


@groups_app.command("delete")
def delete_group(group: Group, yes: Yes = False) -> None:
    """Delete a group; its members lose within seconds what it gave them."""
    if not yes:
        confirm(f"Delete group {group}?")

    async def delete(client: AsyncDocuChat) -> None:
        found = await client.find_group(group)
        await client.delete_group(found.id)
        screen.line(f"Deleted {found.name}.")

    run(with_client(delete))


@groups_app.command("members")
def list_members(group: Group, as_json: AsJson = False) -> None:
    """List who is in a group."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.find_group(group)
        members = [member.model_dump(mode="json") async for member in client.group_members(found.id)]
        if members and not as_json:
            names = {str(user.id): user.called async for user in client.users()}
            members = [{"who": names.get(member["user_id"]), **member} for member in members]
        table(members, as_json)

    run(with_client(show))


@groups_app.command("add")
def add_member(group: Group, user: Person) -> None:
    """Put somebody into a group."""
    _member(group, user, is_in=True)


@groups_app.command("remove")
def remove_member(group: Group, user: Person) -> None:
    """Take somebody out of a group."""
    _member(group, user, is_in=False)


def _member(group: str, user: str, *, is_in: bool) -> None:
    async def change(client: AsyncDocuChat) -> None:
        found, person = await client.find_group(group), await client.find_user(user)
        if is_in:
            await client.add_group_member(found.id, person.id)
        else:
            await client.remove_group_member(found.id, person.id)
        screen.line(f"{person.called} is {'in' if is_in else 'not in'} {found.name}.")

    run(with_client(change))
