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

from docuchat_client.cli.admin import admin_app
from docuchat_client.cli.asking import ask, search, usage
from docuchat_client.cli.chats import chats_app
from docuchat_client.cli.files import files_app
from docuchat_client.cli.sign_in import login, logout, password, register, whoami
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
for command in (login, register, password, logout, whoami, upload, ask, search, usage):
    app.command()(command)
app.add_typer(files_app, name="files")
app.add_typer(chats_app, name="chats")
app.add_typer(admin_app, name="admin")


def main() -> None:
    """Run the command line."""
    app()
