"""Commands: one's second factor."""

from __future__ import annotations

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, with_client
from docuchat_client.identity import RecoveryCodes

second_factor_app = typer.Typer(help="Your second factor: an authenticator app.", no_args_is_help=True)


@second_factor_app.command("show")
def show(as_json: AsJson = False) -> None:
    """Show what is set up, and what is left of the recovery codes."""
    found = run(with_client(lambda client: client.second_factor()))
    if as_json:
        print_json(found)
        return
    screen.line(f"authenticator app: {'set up' if found.totp else 'none'}; passkeys: {found.passkeys}")
    screen.line(f"recovery codes left: {found.recovery_codes}")
    if found.required:
        screen.line("Your tenant demands a second factor.")


@second_factor_app.command("set-up")
def set_up() -> None:
    """Set up an authenticator app: shows its secret, asks for a code of it, and prints recovery codes."""

    async def enrol(client: AsyncDocuChat) -> RecoveryCodes:
        secret = await client.begin_totp()
        drawn = screen.qr_code(secret.otpauth_uri)
        screen.note(
            "Scan this with your authenticator app, or type the secret, which is the last line:"
            if drawn
            else "Give this to your authenticator app; the secret to be typed is the last line:"
        )
        screen.line(secret.otpauth_uri)
        screen.line(secret.secret)
        return await client.confirm_totp(str(typer.prompt("Code that the app shows")).strip())

    _show_codes(run(with_client(enrol)))


@second_factor_app.command("recovery-codes")
def renew() -> None:
    """Print ten new recovery codes; those before are void."""
    _show_codes(run(with_client(lambda client: client.renew_recovery_codes())))


@second_factor_app.command("remove")
def remove(yes: Yes = False) -> None:
    """Take the authenticator app away; your other sessions end."""
    if not yes:
        confirm("Sign in without the authenticator app from now on?")
    run(with_client(lambda client: client.remove_totp()))
    screen.line("The authenticator app is not asked for any more.")


def _show_codes(made: RecoveryCodes) -> None:
    screen.note("Each stands in for the app once; shown this once, keep them apart from your telephone:")
    for code in made.recovery_codes:
        screen.line(code)
