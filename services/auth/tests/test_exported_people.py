"""What auth tells of one person is all that it keeps of the person: a table of tomorrow asks for a decision."""

import re
from importlib.resources import files
from typing import Any

import pytest

from docuchat_auth.bootstrap import EXPORTED
from docuchat_auth.lifecycle.schemas import TenantSettings
from docuchat_auth.tenants.domain import SignUp, SignUpMode
from docuchat_common.exporting import Exported
from docuchat_common.ids import uuid7

from .test_members import People, told

NOT_TOLD = {
    "passwords": "a hash; whether there is one, the person knows",
    "user_receipts": "of who is gone",
}
"""Tables of auth with a user's id that no archive is made of."""
OF_USERS = """
SELECT DISTINCT table_name FROM information_schema.columns
WHERE table_schema = 'auth' AND column_name = 'user_id' AND table_name IN (
    SELECT table_name FROM information_schema.tables WHERE table_schema = 'auth' AND table_type = 'BASE TABLE')
"""


@pytest.fixture
async def people(make_world: Any) -> People:
    return await People(await make_world()).join()


async def test_every_table_that_names_a_user_is_in_the_archive_or_has_a_reason_not_to_be(people: People) -> None:
    queries = files("docuchat_auth").joinpath("exports.sql").read_text("utf-8")
    told_files = re.split(r"^-- name: (\w+)$", queries, flags=re.MULTILINE)
    assert set(told_files[1::2]) == set(EXPORTED), "what is written down is told"
    told_tables = set(re.findall(r"\b(?:FROM|JOIN) auth\.(\w+)", queries))
    of_users = {row["table_name"] for row in await people.world.admin.fetch(OF_USERS)}
    assert "refresh_tokens" in of_users
    assert of_users - told_tables == NOT_TOLD.keys()


async def test_a_person_gets_what_a_directory_and_a_second_factor_say_and_nobody_elses(people: People) -> None:
    world, tenant, eve, bob = people.world, people.tenant.id, people.users["eve"], people.users["bob"]
    for user in (eve, bob):
        name = user.email.partition("@")[0]
        await world.admin.execute(
            "INSERT INTO auth.external_ids (tenant_id, user_id, external_id) VALUES ($1, $2, $3)", tenant, user.id, name
        )
        await world.admin.execute(
            "INSERT INTO auth.totp (tenant_id, user_id, sealed_secret, confirmed_at, last_step) "
            "VALUES ($1, $2, 'sealed', now(), 1)", tenant, user.id
        )  # fmt: skip
        await world.admin.execute(
            "INSERT INTO auth.recovery_codes (tenant_id, user_id, code_hash) VALUES ($1, $2, $3)",
            tenant, user.id, bytes(32),
        )  # fmt: skip
        await world.admin.execute(
            "INSERT INTO auth.passkeys (tenant_id, id, user_id, name, credential_id, public_key, sign_count, "
            "is_backed_up, created_at) VALUES ($1, $2, $3, $4, $5, 'key', 0, false, now())",
            tenant, uuid7(), user.id, f"Phone of {name}", name.encode(),
        )  # fmt: skip
        await world.admin.execute(
            "INSERT INTO auth.invitations (tenant_id, id, email, role, token_hash, invited_by, created_at, expires_at) "
            "VALUES ($1, $2, $3, 'member', $4, $5, now(), now() + interval '1 day')",
            tenant, uuid7(), user.email, name.ljust(32).encode(), bob.id,
        )  # fmt: skip
    of_eve = await told(world, Exported(tenant, eve.id))
    assert [row["external_id"] for row in of_eve["external_ids"]] == ["eve"]
    assert [row["recovery_codes_left"] for row in of_eve["second_factors"]] == [1]
    assert [row["name"] for row in of_eve["passkeys"]] == ["Phone of eve"]
    assert [(row["email"], row["invited_by"]) for row in of_eve["invitations"]] == [("eve@example.com", None)]
    assert len(of_eve["sessions"]) == 1 and "device" in of_eve["sessions"][0]
    everybody = await told(world, Exported(tenant))
    assert [len(everybody[file]) for file in ("external_ids", "second_factors", "passkeys", "invitations")] == [2] * 4


async def test_of_a_tenant_everything_is_told_that_its_people_are_shown(people: People) -> None:
    world, tenant = people.world, people.tenant.id

    async def archived() -> TenantSettings:
        (row,) = (await told(world, Exported(tenant)))["tenant"]
        assert row.keys() == TenantSettings.model_fields.keys()
        async with world.uow(tenant) as tx:
            shown = TenantSettings.of(await tx.tenants.find_by_id(tenant))
        assert TenantSettings.model_validate(row) == shown
        return shown

    assert (await archived()).next_retention is None
    async with world.uow.system() as tx:
        await tx.tenants.set_signup(tenant, SignUp(SignUpMode.DOMAINS, frozenset({"b.example", "a.example"})))
    for state in ("suspended", "deleting"):
        column = {"suspended": "suspended_at", "deleting": "deletes_at"}[state]
        await world.admin.execute(
            "UPDATE auth.tenants SET chats_days = 90, next_documents_days = 30, retention_changes_at = now(), "
            f"require_second_factor = true, {column} = now() WHERE id = $1",
            tenant,
        )
        assert (await archived()).state == state
