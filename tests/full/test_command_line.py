"""People, second factors and keys by the Python client and the command line, on the whole product."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pyotp
import pytest
from typer.testing import CliRunner

from docuchat_client import AsyncDocuChat, Forbidden, NotFound, Unauthenticated
from docuchat_client.cli import app
from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

PASSWORD = "seven purple harbours"
_TOKEN = re.compile(r"auth\.invitation_issued token=(\S+)")


def client_of(product: Product, user: User) -> AsyncDocuChat:
    return AsyncDocuChat(product.url, access_token=user.token, tenant=user.tenant_id)


async def test_an_invited_reader_sees_a_collection_once_it_is_opened_to_the_group(product: Product, user: User) -> None:
    log = product.running.processes["auth"].log
    since, email = log.stat().st_size, f"ben-{user.tenant_id}@example.com"
    async with client_of(product, user) as owner, AsyncDocuChat(product.url) as ben:
        invited = await owner.invite(email, "viewer")
        assert (await owner.find_invitation(email)).id == invited.id
        token = await eventually(lambda: _TOKEN.findall(log.read_bytes()[since:].decode())[-1])
        await ben.accept_invitation(token, name="Ben", password=PASSWORD)
        papers = await owner.create_collection("Papers", "restricted")
        document = await owner.upload(small_pdf(("The picnic is on Sunday.",)), collection_id=papers.id)
        await owner.wait_until_settled(document.id, timeout=60)
        with pytest.raises(NotFound):
            await ben.find_collection("Papers")

        group = await owner.create_group("Readers")
        await owner.add_group_member(group.id, (await owner.find_user(email)).id)
        await owner.put_collection_member(papers.id, group.id, "read")

        async def sees() -> bool:
            return [result.document_id for result in await ben.search("picnic")] == [document.id]

        await eventually(sees)
        assert (await ben.find_collection("papers")).access == "read"
        key = await owner.create_api_key("nightly", ["documents.read"], service=True, role="viewer")
        async with AsyncDocuChat(product.url, api_key=key.secret) as program:
            with pytest.raises(NotFound):
                await program.document(document.id)
            await owner.put_collection_member(papers.id, key.id, "read")
            assert (await program.document(document.id)).filename == "document"
            with pytest.raises(Forbidden):
                await program.create_group("More")
            await owner.revoke_api_key(key.id)

            async def refused() -> bool:
                try:
                    await program.document(document.id)
                except Unauthenticated:
                    return True
                return False

            await eventually(refused)
        wanted = {"invitation.create", "invitation.accept", "collection.create", "group.add_member", "api_key.revoke"}

        async def told() -> bool:
            return wanted <= {entry.action for entry in (await owner.audit(limit=100)).items}

        await eventually(told)


async def test_who_has_an_authenticator_app_signs_in_with_its_code(product: Product, tmp_path: Path) -> None:
    tenant = str(await product.new_tenant())
    async with AsyncDocuChat(product.url, tenant=tenant) as client:
        await client.register("ann", PASSWORD)
        secret = await client.begin_totp()
        codes = (await client.confirm_totp(pyotp.TOTP(secret.secret).now())).recovery_codes
        assert (await client.second_factor()).totp and len(codes) == 10
    environment = {
        "DOCUCHAT_CONFIG_DIR": str(tmp_path), "DOCUCHAT_PASSWORD": PASSWORD, "DOCUCHAT_SERVER": product.url,
        "DOCUCHAT_TENANT": tenant,
    }  # fmt: skip

    async def login(otp: str) -> str:
        arguments = ["login", "--password", "--email", "ann"]
        done = await asyncio.to_thread(CliRunner().invoke, app, arguments, f"{otp}\n" * 3, environment)
        return done.output

    assert "[otp_invalid]" in await login("aaaa-bbbb-cccc-dddd")
    assert "Signed in as ann" in await login(codes[0])
    assert "[otp_invalid]" in await login(codes[0])
