"""A version that is published while a thousand questions run: each answer is of one version, and of all of it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import httpx2
import pytest

from docuchat_testkit.product import Product, User, small_pdf, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

_QUESTIONS: Final = 1000
_AT_ONCE: Final = 16
_VERSIONS: Final = 8


@pytest.fixture(scope="module")
def replicas(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Product, tuple[str, str]]]:
    """A product with two chats behind one address, and the addresses of its two gateways."""
    folder = tmp_path_factory.mktemp("versions")
    with started_test_product(folder, breakable_servers, redis_number=5, provider=stub_provider_process) as product:
        product.running.add_replica("chat", shared=True)
        yield product, (product.url, product.running.add_replica("gateway").url)


async def publish(owner: User, path: str, number: int, collection: str) -> None:
    changed = await owner.http.patch(path, json={"system_prompt": f"Mark {number}.", "collections": [collection]})
    assert changed.status_code == 200, changed.text
    published = await owner.http.post(f"{path}/publish")
    assert (published.status_code, published.json()["version"]) == (201, number), published.text


async def test_each_of_a_thousand_answers_is_of_one_version_while_others_are_published(
    replicas: tuple[Product, tuple[str, str]], stub_provider: StubProviderHandle
) -> None:
    product, urls = replicas
    async with product.user(await product.new_tenant()) as owner:
        shelves, documents = [], []
        for months in (24, 36):
            made = await owner.http.post("/v1/collections", json={"name": f"Kettles {months}"})
            shelves.append(made.json()["id"])
            text = f"The warranty of the kettle lasts {months} months."
            documents.append((await owner.ready(small_pdf((text,)), collection_id=shelves[-1]))["id"])
        chatbot = (await owner.http.post("/v1/chatbots", json={"name": "Kettles"})).json()
        path, key = f"/v1/chatbots/{chatbot['id']}", {"Authorization": f"Bearer {chatbot['secret_key']}"}
        await publish(owner, path, 1, shelves[1])
        answers: list[tuple[int, dict[str, Any]]] = []
        due = {_QUESTIONS * number // _VERSIONS: number + 1 for number in range(1, _VERSIONS)}
        numbers = iter(range(_QUESTIONS))

        async def ask(http: httpx2.AsyncClient, where: str, headers: dict[str, str]) -> None:
            for number in numbers:
                question = {"question": f"How long does the warranty of the kettle last, asked as {number}?"}
                answer = await http.post(where, json=question, headers=headers)
                assert answer.status_code == 200, answer.text
                answers.append((number, answer.json()))
                if version := due.pop(len(answers), None):
                    await publish(owner, path, version, shelves[version % 2])

        public = f"/v1/public/chatbots/{chatbot['publishable_id']}/query"
        ways = [(f"{path}/query", owner.headers), (public, key)]
        async with asyncio.TaskGroup() as tasks, httpx2.AsyncClient(trust_env=False, timeout=60) as http:
            asking = [
                tasks.create_task(ask(http, urls[one % 2] + ways[one // 2 % 2][0], ways[one // 2 % 2][1]))
                for one in range(_AT_ONCE)
            ]
            await asyncio.wait(asking)

        calls = {
            int(found[1]): call
            for call in stub_provider.calls()
            if call.endpoint == "chat" and (found := re.search(r"asked as (\d+)\?$", call.last_message))
        }
        assert len(answers) == len(calls) == _QUESTIONS
        for number, answer in answers:
            version = answer["chatbot_version"]
            assert re.findall(r"Mark (\d+)\.", calls[number].system) == [str(version)]
            cited = {citation["document_id"] for citation in answer["citations"]}
            assert cited == {documents[version % 2]}, answer
        # and over a socket, which says so in its first frame
        frames = await owner.ask("How long does the warranty of the kettle last?", chatbot_id=chatbot["id"])
        assert (frames[0]["chatbot_version"], frames[-1]["type"]) == (_VERSIONS, "end")
        answers.append((_QUESTIONS, frames[0]))
        async with product.database() as administrator:
            stored = await administrator.fetch(
                "SELECT chatbot_version, count(*) FROM chat.turns WHERE chatbot_id = $1::uuid GROUP BY 1", chatbot["id"]
            )
        assert dict(map(tuple, stored)) == Counter(answer["chatbot_version"] for _, answer in answers)
        assert {answer["chatbot_version"] for _, answer in answers} == set(range(1, _VERSIONS + 1))
