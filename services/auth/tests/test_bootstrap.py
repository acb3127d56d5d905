"""What goes on beside the requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.bootstrap import open_container
from docuchat_auth.container import Container
from docuchat_auth.registrations.domain import Application
from docuchat_auth.settings import Settings
from docuchat_auth.tenants.domain import OPEN
from docuchat_auth.users.domain import Email
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.caller import Caller
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually

from .conftest import ManualClock

LEFT = """
    SELECT (SELECT count(*) FROM auth.invitations), (SELECT count(*) FROM auth.users),
           (SELECT array_agg(retired_at IS NULL ORDER BY not_before) FROM auth.signing_keys)
"""


@pytest.fixture
def container_at(auth_environment: dict[str, str]) -> Any:
    """Opens a container whose clock stands at this time; keywords are settings."""
    values = {name if name == "JWT_SECRET" else name.lower(): value for name, value in auth_environment.items()}

    @asynccontextmanager
    async def open_at(clock: ManualClock, **more: Any) -> AsyncIterator[Container]:
        async with open_container(Settings.model_validate({**values, "mail_workers": 2, **more}), clock=clock) as made:
            yield made

    return open_at


async def test_all_that_must_go_on_beside_the_requests_is_started(container_at: Any) -> None:
    async with container_at(ManualClock()) as container:
        assert container.background == {
            "relay", "refresh_tokens.sweep", "revisions.sweep", "invitations.sweep", "unproven_accounts.sweep",
            "signing_keys.sweep", "audit.sweep", "tenants.deletion", "tenants.erasure",
            "tenants.receipts", "tenants.retention", "users.erasure", "idempotency_keys.sweep", "codes.delivery.0",
            "codes.delivery.1", "letters.delivery.0",
        }  # fmt: skip


async def test_what_nobody_took_up_goes_and_an_old_signing_key_is_replaced(
    container_at: Any, database: ClonedDatabase
) -> None:
    clock = ManualClock()
    async with container_at(clock) as container, database.connect() as admin:
        tenant, _ = await container.tenants.create("demo", "Demo", tenant_id=None, signup=OPEN)
        for name in ("ann", "bob"):
            application = Application(Email(f"{name}@example.com"), None, None, "seven purple harbours")
            await container.registrations.register(tenant.id, application, "192.0.2.1")
        owner = await admin.fetchval("UPDATE auth.users SET email = claimed_email WHERE role = 'owner' RETURNING id")
        await container.invitations.invite(Caller(tenant.id, "user", owner), Email("eve@example.com"), Role.MEMBER)
        before = tuple(await admin.fetchrow(LEFT))
        clock.advance(days=300)
        off = {"signing_key_rotation": "0", "unproven_accounts_kept": "0", "expired_invitations_kept": "1000d"}
        async with container_at(clock, **off):
            untouched = tuple(await admin.fetchrow(LEFT))
        async with container_at(clock):

            async def swept() -> bool:
                return tuple(await admin.fetchrow(LEFT)) == (0, 1, [False, True])  # the first comer owns the tenant

            await eventually(swept)
        keys = await admin.fetch("SELECT not_before FROM auth.signing_keys ORDER BY not_before")
    assert before == untouched == (1, 2, [True])
    assert keys[1]["not_before"] == clock.now() + timedelta(minutes=10)
