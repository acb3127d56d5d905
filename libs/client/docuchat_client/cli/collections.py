"""Commands: collections of documents, and who may see them."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, show_list, table, with_client
from docuchat_client.errors import Forbidden
from docuchat_client.identity import Collection
from docuchat_client.rendering import counted

_COLUMNS = ("name", "visibility", "access", "documents", "id")

collections_app = typer.Typer(help="Sets of documents, and who may see them.", no_args_is_help=True)
members_app = typer.Typer(help="Whom a collection is open to, for who manages it.", no_args_is_help=True)
collections_app.add_typer(members_app, name="members")

Named = Annotated[str, typer.Argument(metavar="NAME|ID")]
User = Annotated[str | None, typer.Option(metavar="EMAIL|ID", help="A user of the tenant.")]
Group = Annotated[str | None, typer.Option(metavar="NAME|ID", help="A group.")]
Key = Annotated[str | None, typer.Option(metavar="NAME|ID", help="An API key of the tenant.")]
Visibility = Literal["tenant", "restricted"]


@collections_app.command("list")
def list_collections(as_json: AsJson = False) -> None:
    """List the collections that you may see."""
    show_list(lambda client: client.collections(), as_json, _COLUMNS)


@collections_app.command("create")
def create_collection(
    name: str,
    restricted: Annotated[bool, typer.Option("--restricted", help="Only its members see it, and admins.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a collection, for all of the tenant unless it is restricted."""
    visibility: Visibility = "restricted" if restricted else "tenant"
    _tell(run(with_client(lambda client: client.create_collection(name, visibility))), as_json)


@collections_app.command("change")
def change_collection(
    collection: Named,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    visibility: Annotated[Visibility | None, typer.Option(help="Who sees it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Rename, open or restrict a collection."""
    if name is None and visibility is None:
        raise typer.BadParameter("say what is to change: --name, --visibility, or both")

    async def change(client: AsyncDocuChat) -> Collection:
        found = await client.find_collection(collection)
        return await client.change_collection(found.id, name=name, visibility=visibility)

    _tell(run(with_client(change)), as_json)


@collections_app.command("delete")
def delete_collection(
    collection: Named,
    with_documents: Annotated[bool, typer.Option("--with-documents", help="Its documents go, too.")] = False,
    yes: Yes = False,
) -> None:
    """Delete a collection; it must be empty unless its documents go, too."""
    if not yes:
        confirm(f"Delete collection {collection}{' WITH its documents' if with_documents else ''}?")

    async def delete(client: AsyncDocuChat) -> None:
        found = await client.find_collection(collection)
        gone = await client.delete_collection(found.id, with_documents=with_documents)
        screen.line(f"Deleted {found.name}, {counted(gone.documents_deleted, 'document')}.")

    run(with_client(delete))


@members_app.command("list")
def list_members(collection: Named, as_json: AsJson = False) -> None:
    """List whom a collection is open to by name; admins need not be."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.find_collection(collection)
        members = [member.model_dump(mode="json") async for member in client.collection_members(found.id)]
        if members and not as_json:
            names = await _names(client)
            members = [{"who": names.get(member["id"], ""), **member} for member in members]
        table(members, as_json)

    run(with_client(show))


@members_app.command("add")
def add_member(
    collection: Named,
    access: Annotated[Literal["read", "write", "manage"], typer.Option(help="What is allowed.")] = "read",
    user: User = None,
    group: Group = None,
    key: Key = None,
) -> None:
    """Open a collection to a user, a group or an API key, or change what they may."""

    async def add(client: AsyncDocuChat) -> None:
        found = await client.find_collection(collection)
        member, called = await _member(client, user, group, key)
        made = await client.put_collection_member(found.id, member, access)
        screen.line(f"{called} has {made.access} in {found.name}.")

    run(with_client(add))


@members_app.command("remove")
def remove_member(collection: Named, user: User = None, group: Group = None, key: Key = None) -> None:
    """Close a collection to somebody whom it was opened to."""

    async def remove(client: AsyncDocuChat) -> None:
        found = await client.find_collection(collection)
        member, called = await _member(client, user, group, key)
        await client.remove_collection_member(found.id, member)
        screen.line(f"{called} is no member of {found.name}.")

    run(with_client(remove))


async def collection_id(client: AsyncDocuChat, reference: str | None) -> str | None:
    """The id of the collection of this name; an id as it is."""
    if reference is None or _is_id(reference):
        return reference
    return str((await client.find_collection(reference)).id)


async def _member(
    client: AsyncDocuChat, user: str | None, group: str | None, key: str | None
) -> tuple[UUID | str, str]:
    """The id of the one that was named, and what it is called. Ids are taken as they are: only admins list people."""
    if sum(one is not None for one in (user, group, key)) != 1:
        raise typer.BadParameter("say who: one of --user, --group and --key")
    given = user or group or key or ""
    if _is_id(given):
        return given, given
    if user is not None:
        person = await client.find_user(user)
        return person.id, person.called
    found = await client.find_group(given) if group is not None else await client.find_api_key(given)
    return found.id, found.name


async def _names(client: AsyncDocuChat) -> dict[str, str]:
    """What users, groups and keys are called, as far as one may know."""
    names: dict[str, str] = {}
    try:
        names |= {str(user.id): user.called async for user in client.users()}
        names |= {str(group.id): f"group {group.name}" async for group in client.groups()}
        names |= {str(key.id): f"key {key.name}" async for key in client.api_keys()}
    except Forbidden:
        pass
    return names


def _is_id(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def _tell(collection: Collection, as_json: bool) -> None:
    if as_json:
        print_json(collection)
    else:
        whose = "all of the tenant" if collection.visibility == "tenant" else "its members"
        screen.line(f"Collection {collection.name}, read by {whose} [{collection.id}]")
