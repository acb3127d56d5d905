"""Commands: sign in and out, and who is signed in."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Annotated
from urllib.parse import urlsplit

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.session import (
    LOCAL_HOSTS,
    AsJson,
    local_server,
    note_local_mail,
    print_json,
    run,
    screen,
    with_client,
)
from docuchat_client.credentials import FileCredentials, MemoryCredentials
from docuchat_client.errors import Conflict, DocuChatError, InvalidInput, Unauthenticated
from docuchat_client.models import CodeSent, Registered

_DEFAULT_TENANT = "1"
_TRIES = 3


async def _enter(client: AsyncDocuChat, address: str, code: str | None) -> None:
    """Sign in; a code that was typed wrong is asked for again, as often as a code bears it."""
    for left in reversed(range(_TRIES)):
        shown = code or str(typer.prompt("Code"))
        try:
            await _at_home(client, _with_second_factor(_verifying(client, address, shown)))
        except (Unauthenticated, InvalidInput) as error:
            if code is not None or not left or error.code not in ("invalid_code", "invalid_input"):
                raise
            screen.note("That is not the code; look again.")
        else:
            return


async def _enter_by_password(client: AsyncDocuChat, address: str) -> None:
    secret = _password()
    await _at_home(client, _with_second_factor(lambda otp: client.login_with_password(address, secret, otp=otp)))


def _verifying(client: AsyncDocuChat, address: str, code: str) -> Callable[[str | None], Awaitable[object]]:
    return lambda otp: client.verify_code(address, code, otp=otp)


def _with_second_factor(enter: Callable[[str | None], Awaitable[object]]) -> Callable[[], Awaitable[None]]:
    """Sign in; who has a second factor is asked for its code, and again when it was typed wrong."""
    given: list[str | None] = [None]

    async def sign_in() -> None:
        for left in reversed(range(_TRIES + 1)):
            try:
                await enter(given[-1])
            except Unauthenticated as error:
                if not left or error.code not in ("otp_required", "otp_invalid"):
                    raise
                if error.code == "otp_invalid":
                    screen.note("That is not the code; look again.")
                elif "totp" not in error.details.get("methods", ["totp"]):
                    screen.note("You have passkeys, which work in a browser; here a recovery code does.")
                given.append(str(typer.prompt("Code of your authenticator, or a recovery code")).strip())
            else:
                return

    return sign_in


async def _at_home(client: AsyncDocuChat, enter: Callable[[], Awaitable[object]]) -> None:
    """Sign in; who is in several tenants is asked which one is meant."""
    try:
        await enter()
    except Conflict as error:
        homes = [home["slug"] for home in error.details.get("tenants", ())]
        if error.code != "choose_tenant" or not homes or not sys.stdin.isatty():
            raise
        screen.note(f"You are in {', '.join(homes)}.")
        client.tenant = str(typer.prompt("Which one", default=homes[0]))
        await enter()


def _strangers_tenant(server: str) -> str | None:
    """A local run takes strangers into its first tenant; elsewhere the service finds where somebody is at home."""
    return _DEFAULT_TENANT if urlsplit(server).hostname in LOCAL_HOSTS else None


def _note_sent(sent: CodeSent, who: str) -> None:
    minutes = f", good for {sent.expires_in // 60} minutes" if sent.expires_in else ""
    screen.note(f"If {who}, a code was sent to that address{minutes}.")


def login(
    email: Annotated[str | None, typer.Option(envvar="DOCUCHAT_EMAIL", help="Your address.")] = None,
    tenant: Annotated[
        str | None, typer.Option(envvar="DOCUCHAT_TENANT", help="Number or short name; for who is in several.")
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            envvar="DOCUCHAT_SERVER", help="The service's address; without, a local run's, else http://localhost:8000."
        ),
    ] = None,
    code: Annotated[str | None, typer.Option(help="A code that was sent already; none is requested then.")] = None,
    by_password: Annotated[
        bool, typer.Option("--password", help="Ask for the password (or take DOCUCHAT_PASSWORD) instead of a code.")
    ] = False,
) -> None:
    """Sign in with a code that comes by e-mail, or with --password; --email may be a user name then."""
    where = server or local_server()
    at = tenant or (None if by_password else _strangers_tenant(where))
    address = email or typer.prompt("E-mail")

    async def sign_in() -> None:
        async with _new_sign_in(where, at) as client:
            if by_password:
                await _enter_by_password(client, address)
            else:
                if code is None:
                    _note_sent(
                        await client.request_code(address), f"{address} may sign in{f' at tenant {at}' if at else ''}"
                    )
                    note_local_mail(where)
                await _enter(client, address, code)
            await _greet(client)

    run(sign_in())


@asynccontextmanager
async def _new_sign_in(server: str, tenant: str | None = None) -> AsyncIterator[AsyncDocuChat]:
    """A client whose sign-in takes the place of the kept one, which ends then: nobody could use it any more."""
    former = FileCredentials().load()
    async with AsyncDocuChat(server, tenant=tenant, credentials=FileCredentials()) as client:
        yield client
    if former is None:
        return
    with suppress(DocuChatError):  # it may be over, or its service away
        async with AsyncDocuChat(former.server, credentials=MemoryCredentials(former), timeout=5) as client:
            await client.logout()


def register(
    email: Annotated[str | None, typer.Option(envvar="DOCUCHAT_EMAIL", help="Your address, or a user name.")] = None,
    name: Annotated[str | None, typer.Option(help="Your name, for people.")] = None,
    organization: Annotated[str | None, typer.Option(help="Found a tenant of this name and own it.")] = None,
    tenant: Annotated[str | None, typer.Option(envvar="DOCUCHAT_TENANT", help="Number or short name.")] = None,
    server: Annotated[str | None, typer.Option(envvar="DOCUCHAT_SERVER", help="The service's address.")] = None,
) -> None:
    """Become a user of a tenant that takes you, or found one; signs in."""
    who = email or typer.prompt("E-mail")
    password = _password(is_new=True)

    async def enter() -> None:
        where = server or local_server()
        at = tenant or _strangers_tenant(where)
        async with _new_sign_in(where, at) as client:
            made = await client.register(who, password, name=name, organization=organization)
            if isinstance(made, CodeSent):
                screen.note(f"A code was sent to {who}, which proves that it is yours.")
                code = str(typer.prompt("Code"))
                made = await client.register(who, password, name=name, code=code, challenge=made.challenge)
            await _greet(client)
            if isinstance(made, Registered) and made.verification is not None:
                screen.note(
                    f"A code was sent to {who}, which proves that it is yours: `docuchat verify-email` takes it."
                )
                note_local_mail(where)

    run(enter())


def verify_email(
    code: Annotated[str | None, typer.Option(help="The code of the mail; asked for without.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Have another code sent first.")] = False,
) -> None:
    """Prove the address that you registered with by the code that was mailed to it."""

    async def prove(client: AsyncDocuChat) -> None:
        challenge = None
        if again:
            challenge = (await client.request_verification()).challenge
            screen.note("Another code was sent.")
            note_local_mail(client.base_url)
        await client.verify_email(code or str(typer.prompt("Code")), challenge=challenge)
        screen.line("The address is proven.")

    run(with_client(prove))


def reset_password(
    email: Annotated[str | None, typer.Option(envvar="DOCUCHAT_EMAIL", help="Your address.")] = None,
    tenant: Annotated[
        str | None, typer.Option(envvar="DOCUCHAT_TENANT", help="Number or short name; for who is in several.")
    ] = None,
    server: Annotated[str | None, typer.Option(envvar="DOCUCHAT_SERVER", help="The service's address.")] = None,
) -> None:
    """Set a new password with a mailed code; all your sessions end."""
    address = email or typer.prompt("E-mail")

    async def reset() -> None:
        async with AsyncDocuChat(server or local_server(), tenant=tenant, credentials=MemoryCredentials()) as client:
            _note_sent(await client.forgot_password(address), f"{address} has an account")
            code = str(typer.prompt("Code"))
            new = os.environ.get("DOCUCHAT_NEW_PASSWORD") or _ask_twice()
            await _at_home(client, lambda: client.reset_password(address, code, new))

    run(reset())
    screen.line("The new password is set; sign in with `docuchat login --password`.")


def accept(
    token: Annotated[str | None, typer.Argument(help="The code of the mail (dci_…); asked for without.")] = None,
    name: Annotated[str | None, typer.Option(help="Your name, for people.")] = None,
    no_password: Annotated[bool, typer.Option("--no-password", help="Sign in by mailed codes.")] = False,
    server: Annotated[str | None, typer.Option(envvar="DOCUCHAT_SERVER", help="The service's address.")] = None,
) -> None:
    """Accept an invitation that came by mail: become a user, and sign in."""
    given = token or str(typer.prompt("Code of the mail", hide_input=True))
    secret = None if no_password else _password(is_new=True)

    async def enter() -> None:
        async with _new_sign_in(server or local_server()) as client:
            await client.accept_invitation(given.rpartition("#token=")[2], name=name, password=secret)
            await _greet(client)

    run(enter())


def password() -> None:
    """Set or change the own password; the other sessions end."""
    current = os.environ.get("DOCUCHAT_PASSWORD") or typer.prompt(
        "Present password (empty: none)", default="", show_default=False, hide_input=True
    )
    new = os.environ.get("DOCUCHAT_NEW_PASSWORD") or _ask_twice()
    run(with_client(lambda client: client.set_password(new, current=current or None)))
    screen.line("The password is set.")


def _password(*, is_new: bool = False) -> str:
    return os.environ.get("DOCUCHAT_PASSWORD") or (
        _ask_twice() if is_new else str(typer.prompt("Password", hide_input=True))
    )


def _ask_twice() -> str:
    return str(typer.prompt("New password", hide_input=True, confirmation_prompt=True))


async def _greet(client: AsyncDocuChat) -> None:
    user = await client.me()
    screen.line(f"Signed in as {user.called} ({user.role}) at {user.tenant.name}.")
    with suppress(DocuChatError):  # of a sign-in that is done
        factors = await client.second_factor()
        if factors.required and not (factors.totp or factors.passkeys):
            screen.note(
                "Your tenant demands a second factor: until `docuchat second-factor set-up` you may do nothing else."
            )


def logout() -> None:
    """Sign out and forget the tokens."""
    run(with_client(lambda client: client.logout()))
    screen.line("Signed out.")


def whoami(as_json: AsJson = False) -> None:
    """Show who is signed in, and where."""

    async def show(client: AsyncDocuChat) -> None:
        user = await client.me()
        if as_json:
            print_json(user)
        else:
            tenant = user.tenant
            screen.line(f"{user.called} ({user.role}) at {tenant.name} (tenant {tenant.id}, {tenant.slug})")
            screen.line(client.base_url)

    run(with_client(show))
