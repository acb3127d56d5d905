"""A chatbot in somebody's page and in somebody's program: what opens it, for how long, and what ends that."""

from __future__ import annotations

from typing import Any

import httpx2

from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import PAGE
from docuchat_testkit.product import Product, User, small_pdf

_BLOG = "https://blog.example.com"
_FACT = "The lighthouse keeper is called Mirelda."


async def test_a_chatbot_is_asked_by_its_pages_and_its_programs_until_that_is_taken_back(
    product: Product, user: User
) -> None:
    owner = user.http
    made = (await owner.post("/v1/chatbots", json={"name": "Keeper", "origins": [PAGE, _BLOG]})).json()
    chatbot, public = made["id"], f"/v1/public/chatbots/{made['publishable_id']}"
    document = (await owner.post(f"/v1/chatbots/{chatbot}/documents", files=_file())).json()
    assert (await user.settled(document["id"]))["status"] == "ready"
    assert (await owner.post(f"/v1/chatbots/{chatbot}/publish")).status_code == 201

    async with product.client() as http:

        async def ask(**headers: str) -> tuple[int, Any]:
            answer = await http.post(f"{public}/query", json={"question": "Who keeps the light?"}, headers=headers)
            told = answer.json()
            return answer.status_code, told.get("code", told.get("answer"))

        async def visit(origin: str, shown: str | None = None) -> httpx2.Response:
            return await http.post(f"{public}/visitors", json={"visitor_token": shown}, headers={"Origin": origin})

        # a page: its own visitors ask, and nobody with what was copied from it
        blog, page = [{"Origin": origin} | _bearer(await visit(origin)) for origin in (_BLOG, PAGE)]
        assert (status := await ask(**page))[0] == 200 and "Mirelda" in status[1]
        for copied in ({"Origin": "https://evil.example"}, {"Origin": _BLOG}, {}):
            assert await ask(**copied, Authorization=page["Authorization"]) == (403, "origin_not_allowed")
        assert (await visit("https://evil.example")).json()["code"] == "origin_not_allowed"

        # a program: both secrets open it within the overlap, then the newer one alone
        first = made["secret_key"]
        second = (await owner.post(f"/v1/chatbots/{chatbot}/rotate_key", json={"overlap_seconds": 600})).json()
        for secret in (first, second["secret_key"]):
            assert (await ask(**{"X-API-Key": secret}))[0] == 200
        third = (await owner.post(f"/v1/chatbots/{chatbot}/rotate_key", json={"overlap_seconds": 0})).json()
        for secret in (first, second["secret_key"]):

            async def is_refused(secret: str = secret) -> bool:
                return await ask(**{"X-API-Key": secret}) == (401, "invalid_api_key")

            await eventually(is_refused)
        assert (await ask(**{"X-API-Key": third["secret_key"]}))[0] == 200

        # a page that is taken off the list: its visitors are out, those of the other come back as the same
        read = (await owner.get(f"/v1/chatbots/{chatbot}")).json()
        change = {"origins": [PAGE], "revision": read["revision"]}
        changed = await owner.patch(f"/v1/chatbots/{chatbot}", json=change)
        assert changed.status_code == 200, changed.text

        async def is_out() -> bool:
            return await ask(**blog) == (401, "token_outdated")

        await eventually(is_out)
        assert (await visit(_BLOG)).status_code == 403
        renewed = await visit(PAGE, page["Authorization"].removeprefix("Bearer "))
        assert (await ask(Origin=PAGE, **_bearer(renewed)))[0] == 200

        # the chatbot's end is theirs
        assert (await owner.delete(f"/v1/chatbots/{chatbot}")).status_code in {202, 204}

        async def is_over() -> bool:
            by_page, by_key = (
                await ask(Origin=PAGE, **_bearer(renewed)),
                await ask(**{"X-API-Key": third["secret_key"]}),
            )
            return (by_page[0], by_key[0]) == (401, 401)

        await eventually(is_over)
        assert (await visit(PAGE)).json()["code"] == "chatbot_not_found"


def _bearer(visit: httpx2.Response) -> dict[str, str]:
    assert visit.status_code == 201, visit.text
    return {"Authorization": f"Bearer {visit.json()['visitor_token']}"}


def _file() -> dict[str, Any]:
    return {"file": ("keeper.pdf", small_pdf((_FACT,)), "application/pdf")}
