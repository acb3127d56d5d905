"""The command `docuchat`.

| exit code | when |
|---|---|
| 0 | done |
| 1 | failed; also when a document could not be ingested |
| 2 | wrong usage |
| 3 | not signed in, or not allowed |
| 4 | no such object |
| 5 | limit or quota reached |
| 6 | the service cannot be reached |
| 130 | interrupted |
"""

from __future__ import annotations

import typer

from docuchat_client.cli.access import keys_app, sessions_app
from docuchat_client.cli.admin import admin_app
from docuchat_client.cli.asking import ask, search, usage
from docuchat_client.cli.auditing import audit
from docuchat_client.cli.chatbots import chatbots_app
from docuchat_client.cli.chats import chats_app
from docuchat_client.cli.collections import collections_app
from docuchat_client.cli.feedback import feedback, regenerate
from docuchat_client.cli.files import files_app
from docuchat_client.cli.following import events
from docuchat_client.cli.groups import groups_app
from docuchat_client.cli.model_providers import model_providers_app, models
from docuchat_client.cli.people import invitations_app, invite, users_app
from docuchat_client.cli.providers import providers_app
from docuchat_client.cli.second_factor import second_factor_app
from docuchat_client.cli.sign_in import (
    accept,
    login,
    logout,
    password,
    register,
    reset_password,
    verify_email,
    whoami,
)
from docuchat_client.cli.tenant import domains_app, tenant_app
from docuchat_client.cli.uploads import upload

app = typer.Typer(
    name="docuchat",
    help="Ask your documents.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not signed in or not allowed, 4 no such object, "
    "5 limit or quota reached, 6 service cannot be reached, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (
    login,
    register,
    verify_email,
    password,
    reset_password,
    logout,
    whoami,
    upload,
    ask,
    regenerate,
    feedback,
    search,
    models,
    events,
    usage,
    invite,
    audit,
):
    app.command()(command)
invitations_app.command()(accept)
for name, group in {
    "files": files_app,
    "chats": chats_app,
    "chatbots": chatbots_app,
    "collections": collections_app,
    "tenant": tenant_app,
    "domains": domains_app,
    "identity-providers": providers_app,
    "model-providers": model_providers_app,
    "users": users_app,
    "invitations": invitations_app,
    "groups": groups_app,
    "keys": keys_app,
    "sessions": sessions_app,
    "second-factor": second_factor_app,
    "admin": admin_app,
}.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line."""
    app()
