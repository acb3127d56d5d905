"""OpenAI's official Node client, and an SDK that speaks `/v1/responses` first, against the whole product."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, small_pdf, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

HERE = Path(__file__).parent / "openai_clients"
_PATIENCE = 120
_MODEL = "gpt-4o-mini"


@pytest.fixture(scope="module")
def product(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("openai-clients")
    with started_test_product(folder, breakable_servers, redis_number=4, provider=stub_provider_process) as product:
        yield product


@pytest.fixture(scope="module")
def packages(with_node: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients and what drives them."""
    folder = tmp_path_factory.mktemp("packages")
    for file in HERE.iterdir():
        shutil.copy(file, folder)
    install = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, env=with_node, check=True, capture_output=True)
    return folder


@pytest_asyncio.fixture
async def asked(product: Product, stub_provider: StubProviderHandle) -> AsyncIterator[tuple[int, list[str]]]:
    """A tenant with a document and a chatbot, and what a client has to know of it."""
    tenant_id = await product.new_tenant()
    async with product.user(tenant_id) as user:
        shelf = (await user.http.post("/v1/collections", json={"name": "Kettles"})).json()["id"]
        text = "The warranty of the kettle lasts 36 months. Abroad it lasts 12 months."
        await user.ready(small_pdf((text,)), collection_id=shelf)
        bot = (await user.http.post("/v1/chatbots", json={"name": "Kettles", "collections": [shelf]})).json()
        published = await user.http.post(f"/v1/chatbots/{bot['id']}/publish")
        assert published.status_code in (200, 201), published.text
        made = await user.http.post("/v1/api-keys", json={"name": "program", "scopes": ["chats.use"]})
        assert made.status_code == 201, made.text
        stub_provider.reset()
        yield tenant_id, [f"{user.gateway_url}/v1", made.json()["secret"], _MODEL, f"chatbot/{bot['id']}"]


async def driven(packages: Path, with_node: dict[str, str], script: str, *arguments: str) -> dict[str, Any]:
    """What a program tells of itself at its end."""
    drive = partial(
        subprocess.run,
        ["node", script, *arguments],
        cwd=packages,
        env=with_node,
        text=True,
        capture_output=True,
        check=False,
        timeout=_PATIENCE,
    )
    done = await asyncio.to_thread(drive)
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return told


async def test_files_are_sent_followed_listed_read_and_deleted(
    product: Product, packages: Path, with_node: dict[str, str], tmp_path: Path
) -> None:
    async with product.user(await product.new_tenant()) as user:
        older = await user.ready(small_pdf(("The deposit for the bottle is 25 cents.",)))
        body = {"name": "program", "scopes": ["documents.add", "documents.read", "documents.manage"]}
        made = await user.http.post("/v1/api-keys", json=body)
        assert made.status_code == 201, made.text
        path = tmp_path / "kettle.pdf"
        await asyncio.to_thread(path.write_bytes, small_pdf(("The warranty of the kettle lasts 36 months.",)))
        told = await driven(packages, with_node, "files.mjs", f"{product.url}/v1", made.json()["secret"], str(path))
        listed = (await user.http.get("/v1/files")).json()["items"]
    assert told["filename"] == path.name
    assert [document["id"] for document in listed] == [older["id"]]


@pytest.mark.parametrize("script", ["official.mjs", "ai_sdk.mjs"])
async def test_a_conversation_with_citations_is_booked_as_the_provider_counted(
    product: Product,
    stub_provider: StubProviderHandle,
    packages: Path,
    with_node: dict[str, str],
    asked: tuple[int, list[str]],
    script: str,
) -> None:
    tenant_id, arguments = asked
    calls = (await driven(packages, with_node, script, *arguments))["asked"]
    counted = stub_provider.counts()

    async def each_call_is_booked_once() -> None:
        booked = await product.booked(tenant_id)
        assert booked["chats"] == calls
        assert booked["prompt_tokens"] == counted.prompt_tokens
        assert booked["completion_tokens"] == counted.completion_tokens

    await eventually(each_call_is_booked_once)
    assert sum(call.endpoint == "chat" for call in stub_provider.calls()) == calls
