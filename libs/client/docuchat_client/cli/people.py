"""Commands: the people of the tenant, and invitations."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.deletions import show_receipt
from docuchat_client.cli.exporting import export_user
from docuchat_client.cli.session import (
    AsJson,
    Yes,
    confirm,
    note_local_mail,
    print_json,
    run,
    screen,
    show_list,
    with_client,
)
from docuchat_client.identity import ErasureReceipt, Invitation, Member
from docuchat_client.rendering import moment

_USER_COLUMNS = ("email", "username", "name", "role", "is_active", "last_login_at", "id")
_INVITATION_COLUMNS = ("email", "role", "expires_at", "id")

users_app = typer.Typer(help="The people of your tenant; for admins.", no_args_is_help=True)
invitations_app = typer.Typer(help="Who was invited; for admins. `accept` is for who was.", no_args_is_help=True)

Person = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="A user: the address, user name or id.")]
Invited = Annotated[str, typer.Argument(metavar="EMAIL|ID", help="The address that was invited, or the id.")]
Role = Literal["owner", "admin", "member", "viewer"]


@users_app.command("list")
def list_users(
    role: Annotated[Role | None, typer.Option(help="Only those of this role.")] = None, as_json: AsJson = False
) -> None:
    """List the people of the tenant."""
    show_list(lambda client: client.users(role=role), as_json, _USER_COLUMNS)


@users_app.command("set-role")
def set_role(user: Person, role: Annotated[Role, typer.Argument()]) -> None:
    """Give somebody another role; it is felt within seconds, and one owner stays."""
    changed = _change(user, role=role)
    screen.line(f"{changed.called} is {changed.role}.")


@users_app.command("deactivate")
def deactivate(user: Person, yes: Yes = False) -> None:
    """Shut somebody out: all sessions and keys end within seconds; what is theirs stays."""
    if not yes:
        confirm(f"End all sessions of {user}?")
    screen.line(f"{_change(user, active=False).called} is deactivated.")


@users_app.command("activate")
def activate(user: Person) -> None:
    """Let somebody in again who was deactivated."""
    screen.line(f"{_change(user, active=True).called} may sign in.")


@users_app.command("remove")
def remove(
    user: Person,
    hand_over_to: Annotated[
        str | None, typer.Option(metavar="EMAIL|ID", help="Who gets what they own; without it that is deleted.")
    ] = None,
    yes: Yes = False,
) -> None:
    """Remove somebody for good, with what they own unless it is handed over."""
    if not yes:
        confirm(f"Remove {user} and {'hand over' if hand_over_to else 'DELETE'} what they own?")

    async def take_out(client: AsyncDocuChat) -> Member:
        gone = await client.find_user(user)
        heir = None if hand_over_to is None else (await client.find_user(hand_over_to)).id
        await client.remove_user(gone.id, hand_over_to=heir)
        return gone

    screen.line(f"{run(with_client(take_out)).called} is removed.")


@users_app.command("erase")
def erase(
    user: Person,
    hand_over_to: Annotated[
        str | None, typer.Option(metavar="EMAIL|ID", help="Who gets their documents; without it those are deleted.")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person: remove the user, and whatever else is kept of them; a receipt says what that was."""
    if not yes:
        confirm(f"ERASE {user} for good, and {'hand over' if hand_over_to else 'DELETE'} the documents?")

    async def take_out(client: AsyncDocuChat) -> tuple[Member, ErasureReceipt]:
        gone = await client.find_user(user)
        heir = None if hand_over_to is None else (await client.find_user(hand_over_to)).id
        return gone, await client.erase_user(gone.id, hand_over_to=heir)

    gone, receipt = run(with_client(take_out))
    if as_json:
        print_json(receipt)
    else:
        screen.line(f"{gone.called} is being erased; `docuchat users receipt {gone.id}` says what is gone.")


@users_app.command("receipt")
def receipt(
    user_id: Annotated[str, typer.Argument(metavar="ID", help="The id that the person had.")], as_json: AsJson = False
) -> None:
    """Show what each service erased of a person, and what it keeps; fails while one has not said so."""
    found = run(with_client(lambda client: client.erasure_receipt(user_id)))
    show_receipt(found.model_dump(mode="json"), as_json)


users_app.command("export")(export_user)


@users_app.command("reset-second-factor")
def reset_second_factor(user: Person, yes: Yes = False) -> None:
    """Take the second factors of somebody away who has lost them; all sessions of that user end."""
    if not yes:
        confirm(f"Take authenticator app, passkeys and recovery codes of {user} away?")

    async def reset(client: AsyncDocuChat) -> Member:
        found = await client.find_user(user)
        await client.reset_second_factor(found.id)
        return found

    screen.line(f"{run(with_client(reset)).called} signs in without a second factor.")


def _change(user: str, *, role: str | None = None, active: bool | None = None) -> Member:
    async def change(client: AsyncDocuChat) -> Member:
        return await client.change_user((await client.find_user(user)).id, role=role, active=active)

    return run(with_client(change))


def invite(
    email: Annotated[str, typer.Argument(help="Who is to come.")],
    role: Annotated[Role, typer.Option(help="As what; owners are invited by owners.")] = "member",
    as_json: AsJson = False,
) -> None:
    """Invite somebody by mail; the invitation works once."""

    async def ask(client: AsyncDocuChat) -> tuple[Invitation, str]:
        return await client.invite(email, role), client.base_url

    made, server = run(with_client(ask))
    if as_json:
        print_json(made)
    else:
        screen.line(f"{made.email} is invited as {made.role}, until {moment(made.expires_at)}.")
        note_local_mail(server)


@invitations_app.command("list")
def list_invitations(as_json: AsJson = False) -> None:
    """List invitations that nobody has accepted or revoked."""
    show_list(lambda client: client.invitations(), as_json, _INVITATION_COLUMNS)


@invitations_app.command("resend")
def resend(invited: Invited) -> None:
    """Mail an invitation again; the older mail is void."""

    async def send(client: AsyncDocuChat) -> None:
        again = await client.resend_invitation((await client.find_invitation(invited)).id)
        screen.line(f"Sent to {again.email} again, good until {moment(again.expires_at)}.")

    run(with_client(send))


@invitations_app.command("revoke")
def revoke(invited: Invited) -> None:
    """Take an invitation back."""

    async def take_back(client: AsyncDocuChat) -> None:
        found = await client.find_invitation(invited)
        await client.revoke_invitation(found.id)
        screen.line(f"The invitation of {found.email} is void.")

    run(with_client(take_back))
