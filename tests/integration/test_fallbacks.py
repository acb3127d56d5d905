"""A provider of the platform is killed under load: the environment answers in its place, the ledger names both."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle, running_stub_provider
from docuchat_testkit.provider_rules import Rule

_LEAFLET = small_pdf(("The warranty of the kettle lasts 36 months.",))
_MODEL = "gpt-4o-mini"
_OF_EACH = 10


@asynccontextmanager
async def provider_of_the_platform(product: Product, name: str, stub: StubProviderHandle) -> AsyncIterator[None]:
    """A provider that is there as long as this."""
    key = json.loads((product.running.folder / "operator.json").read_text())["key"]
    async with product.client() as http:
        token = (await http.post("/v1/operator/token", json={"key": key})).json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        models = [{"name": _MODEL, "input": 0.1, "output": 0.4}]
        body = {"name": name, "base_url": stub.base_url, "api_key": "sk-t", "models": models}
        made = await http.post("/v1/operator/providers", json=body)
        assert made.status_code == 201, made.text
        yield
        gone = await http.delete(f"/v1/operator/providers/{made.json()['id']}")
        assert gone.status_code == 204, gone.text


async def in_ledger(product: Product, user: User) -> dict[str, tuple[int, int, int]]:
    """Entries, input and output tokens of answers, by provider."""
    async with product.database() as connection:
        rows = await connection.fetch(
            "SELECT provider, count(*), sum(input_tokens)::bigint, sum(output_tokens)::bigint FROM usage.ledger "
            "WHERE tenant_id = $1 AND kind = 'chat' AND model = $2 GROUP BY provider",
            user.tenant_id,
            _MODEL,
        )
    return {provider: (entries, asked, answered) for provider, entries, asked, answered in rows}


def served(stub: StubProviderHandle) -> tuple[int, int, int]:
    counts = stub.counts()
    calls = [call for call in stub.calls() if call.endpoint == "chat" and call.prompt_tokens]
    return len(calls), counts.prompt_tokens, counts.completion_tokens


@pytest.mark.full
async def test_a_killed_provider_is_replaced_and_the_ledger_names_both(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    name = f"killed-{uuid.uuid4().hex[:8]}"
    document = await user.ready(_LEAFLET)
    with running_stub_provider() as first:
        first.control(
            Rule(endpoint="chat", contains="unheard", header_delay=120),
            Rule(endpoint="chat", contains="silent", stall_after=0),
        )
        async with provider_of_the_platform(product, name, first):
            body = {
                "name": "Kettles",
                "collections": [document["collection_id"]],
                "model": f"{name}/{_MODEL}",
                "fallback_model": _MODEL,
                "publish": True,
            }
            made = await user.http.post("/v1/chatbots", json=body)
            assert made.status_code == 201, made.text
            chatbot_id = made.json()["id"]

            async def ask(kind: str, number: int) -> dict[str, Any]:
                question = f"How long does the warranty last? {kind} {number}"
                last: dict[str, Any] = (await user.ask(question, chatbot_id=chatbot_id))[-1]
                return last

            whole = await asyncio.gather(*(ask("whole", number) for number in range(_OF_EACH)))
            assert {(last["type"], last.get("model")) for last in whole} == {("end", f"{name}/{_MODEL}")}
            stuck = [
                asyncio.create_task(ask(kind, number)) for kind in ("unheard", "silent") for number in range(_OF_EACH)
            ]
            await eventually(lambda: len(first.calls()) == 3 * _OF_EACH)
            await eventually(lambda: served(first)[0] == 2 * _OF_EACH)
            of_first = served(first)
            os.kill(first.pid, signal.SIGKILL)
            later = await asyncio.gather(*(ask("later", number) for number in range(2 * _OF_EACH)))
            for last in [*later, *await asyncio.gather(*stuck)]:
                assert (last["type"], last["model"]) == ("end", _MODEL), last
                assert last["fallback"]["from"] == f"{name}/{_MODEL}"
                assert last["fallback"]["reason"] in ("provider_error", "provider_interrupted", "provider_down")

    async def books_agree() -> None:
        by_provider = await in_ledger(product, user)
        assert by_provider.pop(name) == of_first
        assert list(by_provider.values()) == [served(stub_provider)]
        assert (await user.usage())["quota"]["tokens"]["held"] == 0

    await eventually(books_agree)
    assert served(stub_provider)[0] == 4 * _OF_EACH
