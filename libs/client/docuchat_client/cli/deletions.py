"""Commands of operators: the end of a tenant."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from docuchat_client.cli.operating import operate
from docuchat_client.cli.session import AsJson, Yes, confirm, screen
from docuchat_client.errors import NotFound
from docuchat_client.operators import OperatorClient
from docuchat_client.rendering import moment

_Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The tenant's id, customer id or slug.")]


def delete_tenant(context: typer.Context, tenant: _Tenant, yes: Yes = False) -> None:
    """Delete a tenant with everything of it after a time of grace, in which it can be read and taken back."""
    if not yes:
        confirm(f"Delete {tenant}, with all its people, documents and chats?")
    asked = operate(context, lambda it: it.delete_tenant(tenant))
    screen.line(
        f"Tenant {asked['id']} ({asked['slug']}) is erased at {_at(asked['deletes_at'])}; until then: restore-tenant."
    )


def _at(said: str) -> str:
    return moment(datetime.fromisoformat(said))


def restore_tenant(context: typer.Context, tenant: _Tenant) -> None:
    """Take the deletion of a tenant back, until its erasure begins."""

    async def restore(operator: OperatorClient) -> tuple[dict[str, Any], bool]:
        was = await operator.find_tenant(tenant)
        return await operator.restore_tenant(tenant), was.get("deletes_at") is not None

    back, was_asked = operate(context, restore)
    how = f"it is {back['state']}" if was_asked else "nobody had asked for its deletion"
    screen.line(f"Tenant {back['id']} ({back['slug']}) stays; {how}.")


def deletion_receipt(
    context: typer.Context,
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="The deleted tenant's id or customer id.")],
    as_json: AsJson = False,
) -> None:
    """Show what each service erased of a deleted tenant, and what it keeps; fails while one has not said so."""

    async def look(operator: OperatorClient) -> dict[str, Any]:
        try:
            return await operator.deletion_receipt(tenant)
        except NotFound as error:
            ends = (await operator.find_tenant(tenant)).get("deletes_at")
            if ends is None:
                raise
            message = f"{tenant} is erased at {_at(ends)}; until then there is no receipt."
            raise NotFound(message, code=error.code) from error

    show_receipt(operate(context, look), as_json)


def show_receipt(receipt: dict[str, Any], as_json: bool) -> None:
    """Show what was erased, of a tenant or of a person; ends with 1 while a service has not said so."""
    if as_json:
        screen.json(json.dumps(receipt, indent=2))
    else:
        for part in receipt["parts"]:
            for name, amount in sorted(part["erased"].items()):
                screen.line(f"{part['service']}: {amount} {name} erased")
            for name, reason in sorted(part["kept"].items()):
                screen.line(f"{part['service']}: {name} kept ({reason})")
    if receipt["waiting_for"]:
        screen.fail(f"{', '.join(receipt['waiting_for'])} did not say yet what was erased")
        raise typer.Exit(1)
