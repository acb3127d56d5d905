"""`python -m docuchat_auth`: serves; with a command, administers tenants and signing keys."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from typing import Final

from pydantic import ValidationError

from docuchat_auth.app import create_app
from docuchat_auth.bootstrap import open_administration
from docuchat_auth.container import Administration
from docuchat_auth.operators.schemas import ImportedUser
from docuchat_auth.settings import Settings
from docuchat_auth.tenants.domain import SignUpMode
from docuchat_auth.tenants.service import make_signup
from docuchat_common.errors import DocuChatError, InvalidInput
from docuchat_common.http.server import serve, server_config
from docuchat_common.service_defaults import configure_observability
from docuchat_common.settings import load_settings

_MODES: Final = {**{mode.value: mode for mode in SignUpMode}, "closed": SignUpMode.INVITE}
"""`closed` is what `invite` was called."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    options = _parser().parse_args(arguments)
    settings = load_settings(Settings)
    configure_observability(settings, "auth", command=options.command not in (None, "serve"))
    if options.command in (None, "serve"):
        app = create_app(settings)
        config = server_config(app, settings)
        # uvicorn would believe X-Forwarded-For of any local caller; routes.client_address believes the gateway alone
        config.proxy_headers = False
        serve(app, settings, config)
        return 0
    try:
        sys.stdout.write(asyncio.run(_administer(settings, options)) + "\n")
    except DocuChatError as error:
        sys.stderr.write(f"{error.code}: {error.detail}\n")
        return 1
    return 0


async def _administer(settings: Settings, options: argparse.Namespace) -> str:
    async with open_administration(settings) as administration:
        return await _run(administration, options)


async def _run(administration: Administration, options: argparse.Namespace) -> str:
    if options.command == "create-tenant":
        wanted = make_signup(_MODES[options.signup or "invite"], options.domain)
        tenant, is_new = await administration.tenants.create(
            options.slug, options.name or options.slug, tenant_id=options.id, signup=wanted
        )
        if options.signup is not None and tenant.signup != wanted:
            tenant = await administration.tenants.set_signup(tenant.id, wanted)
        return f"tenant {tenant.id} {tenant.slug} {'created' if is_new else 'exists'}, sign-up {tenant.signup.mode}"
    if options.command == "set-signup":
        tenant = await administration.tenants.get_by_reference(options.slug)
        await administration.tenants.set_signup(tenant.id, make_signup(_MODES[options.state], options.domain))
        return f"tenant {tenant.id} {tenant.slug} sign-up {options.state}"
    if options.command == "import-users":
        return await _import_users(administration, options)
    key = await administration.keys.rotate(revoke=options.revoke)
    return f"key {key.kid} signs from {key.not_before.isoformat()}"


async def _import_users(administration: Administration, options: argparse.Namespace) -> str:
    """All lines are read before the first is taken, so that a mistake in one changes nothing."""
    tenant = await administration.tenants.get_by_reference(options.slug)
    users = []
    for number, text in enumerate(options.file, start=1):
        try:
            users.append(ImportedUser.model_validate_json(text))
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            raise InvalidInput(f"line {number}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    added = [await administration.imports.add(tenant, one.newcomer(), one.role, one.password_hash) for one in users]
    return f"tenant {tenant.id} {tenant.slug}: {sum(added)} users added, {len(added) - sum(added)} were there"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m docuchat_auth", description=__doc__)
    commands = parser.add_subparsers(dest="command", title="commands")
    commands.add_parser("serve", help="serve HTTP (the default)")

    create = commands.add_parser("create-tenant", help="create a tenant; the same slug again changes nothing")
    create.add_argument("--slug", required=True, help="lower-case letters, digits and hyphens")
    create.add_argument("--name", help="for people (default: the slug)")
    create.add_argument("--id", type=_tenant_id, help="a chosen id (default: the next free one)")
    create.add_argument("--signup", choices=_MODES, help="who joins uninvited (a new tenant: invite, nobody)")
    _add_domains(create)

    signup = commands.add_parser("set-signup", help="say who joins a tenant uninvited")
    signup.add_argument("--slug", required=True)
    signup.add_argument("state", choices=_MODES)
    _add_domains(signup)

    users = commands.add_parser("import-users", help="bring users along, with hashes of their passwords")
    users.add_argument("--slug", required=True)
    users.add_argument(
        "file",
        type=argparse.FileType("r", encoding="utf-8"),
        help='a JSON object a line: email or username, name, role, password_hash ("$2b$…"); - is standard input',
    )

    rotate = commands.add_parser("rotate-keys", help="publish a new signing key that takes over after a while")
    rotate.add_argument(
        "--revoke", action="store_true", help="drop every older key at once: all access tokens end (a key has leaked)"
    )
    return parser


def _add_domains(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--domain", action="append", default=[], help="of mail, the tenant's own (with: domains)")


def _tenant_id(text: str) -> int:
    number = int(text)
    if not 0 < number < 2**31:
        raise argparse.ArgumentTypeError("an id is between 1 and 2147483647")
    return number


if __name__ == "__main__":
    sys.exit(main())
