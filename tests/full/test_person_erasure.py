"""One person is erased from a product that runs: nothing is left in any service but what the receipt names."""

from __future__ import annotations

from typing import Any

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.leftovers import places_of
from docuchat_testkit.product import Product, small_pdf

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

KEPT = {
    *(f"{schema}.removed_users" for schema in ("chat", "knowledge", "usage")),
    "auth.audit_entries", "auth.revisions", "auth.user_receipts", "chat.provider_calls", "knowledge.provider_calls",
    "usage.ledger", "usage.sums", "usage.holds",
}  # fmt: skip


async def test_of_an_erased_person_nothing_is_left_but_ids_where_the_receipt_says_so(product: Product) -> None:
    tenant = await product.new_tenant()
    async with product.user(tenant) as owner, product.user(tenant) as eve:
        document = await eve.ready(small_pdf(("The picnic of the choir is on Sunday.",)))
        for person in (eve, owner):
            frames = await person.ask("When is the picnic of the choir?")
            assert frames[-1]["type"] == "end", frames
        key = await eve.http.post("/v1/api-keys", json={"name": "mine", "scopes": ["chats.use"]})
        assert key.status_code == 201, key.text
        assert (await eve.http.post(f"/v1/users/{eve.id}/export")).status_code == 202
        for nobody in ("00000000-0000-0000-0000-000000000009", document["id"]):
            answer = await owner.http.post(f"/v1/users/{nobody}/export")
            assert (answer.status_code, answer.json()["code"]) == (404, "person_not_found")

        asked = await owner.http.post(f"/v1/users/{eve.id}/erase")
        assert asked.status_code == 202, asked.text

        async def receipt() -> dict[str, Any]:
            found = (await owner.http.get(f"/v1/users/{eve.id}/receipt")).json()
            assert found["finished_at"], found["waiting_for"]
            return dict(found)

        parts = {part["service"]: part for part in (await eventually(receipt, timeout=120))["parts"]}
        erased = {service: part["erased"] for service, part in parts.items()}
        assert (erased["auth"]["users"], erased["auth"]["api_keys"]) == (1, 1)
        assert erased["chat"]["chats"] == 1 and erased["chat"]["messages"] >= 2
        assert (erased["ingest"]["documents"], erased["ingest"]["objects"]) == (1, 1)
        assert erased["ingest"]["chunks"] >= 1
        told = {name for part in parts.values() for name in part["kept"]}
        assert {name.partition(".")[2] for name in KEPT} - {"sums"} <= told, "what is kept is named"

        async with product.database() as connection:
            assert await places_of(connection, eve.email) == set()

            async def is_gone() -> set[str]:
                left = await places_of(connection, eve.id, key.json()["id"]) - KEPT
                assert left == set(), left
                return {"nothing"}

            # tombstones of chats and documents go a minute after
            await eventually(is_gone, timeout=200)
        assert (await eve.http.get("/v1/users/me")).status_code == 401
