"""R9: a part that is frozen costs its callers little time, and nothing stays behind."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

import httpx2
import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import parts_of, resident_megabytes
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle

_LONGEST_SECONDS = 5.0
_BACK_SECONDS = 10.0
_MOST_MEGABYTES = 100.0
_ASK = ("POST", "/v1/chat")
_UPLOAD = ("POST", "/v1/files")
_READS = [("GET", path) for path in ("/v1/files", "/v1/chats", "/v1/usage", "/v1/users/me")]


@dataclass(frozen=True)
class Freeze:
    """What must be refused meanwhile, and what must go on; of the rest only the time is bounded."""

    refused: tuple[tuple[str, str], ...] = ()
    served: tuple[tuple[str, str], ...] = ()


FREEZES = {
    "chat": Freeze((("GET", "/v1/chats"), _ASK), (("GET", "/v1/files"), ("GET", "/v1/usage"))),
    "usage": Freeze((("GET", "/v1/usage"), _ASK), (("GET", "/v1/files"), ("GET", "/v1/chats"))),
    "auth": Freeze((("GET", "/v1/users/me"),), (("GET", "/v1/files"), ("GET", "/v1/chats"), ("GET", "/v1/usage"))),
    "ingest-worker": Freeze(served=(_UPLOAD, ("GET", "/v1/files"))),
    "rabbitmq": Freeze(served=(_UPLOAD, ("GET", "/v1/files"), ("GET", "/v1/chats"), ("GET", "/v1/usage"))),
    "postgres": Freeze((("GET", "/v1/files"), ("GET", "/v1/chats"), ("GET", "/v1/usage"), _UPLOAD, _ASK)),
    "redis": Freeze(),
    "gateway": Freeze(),
}


async def ask(user: User, request: tuple[str, str], number: int) -> httpx2.Response:
    if request == _UPLOAD:
        content = small_pdf((f"The warranty of lamp {number} at {time.time()} lasts 12 months.",))
        return await user.http.post("/v1/files", files={"file": ("lamp.pdf", content, "application/pdf")})
    return await user.http.request(*request, json={"message": "How long is it?"} if request == _ASK else None)


async def freeze(product: Product, user: User, name: str, seconds: float) -> None:
    part, plan = parts_of(product)[name], FREEZES[name]
    requests = [*_READS, _ASK, _UPLOAD]
    answered: Counter[str] = Counter()
    slowest = 0.0
    before = resident_megabytes(product)

    async def timed(request: tuple[str, str], number: int) -> None:
        nonlocal slowest
        began = time.monotonic()
        response = await ask(user, request, number)
        took = time.monotonic() - began
        slowest = max(slowest, took)
        line = f"{name} frozen: {' '.join(request)} {response.status_code} after {took:.1f} s"
        answered[f"{request[1]} {response.status_code}"] += 1
        assert took < _LONGEST_SECONDS, line
        assert response.status_code in {200, 202, 503}, f"{line}: {response.text}"
        if response.status_code == 503:
            assert int(response.headers["retry-after"]) >= 1, line
            assert request not in plan.served, f"{line}: {response.text}"
        else:
            assert request not in plan.refused, line

    part.freeze()
    try:
        until = time.monotonic() + seconds
        number = 0
        while time.monotonic() < until:
            if name == "gateway":  # nobody is there to answer: what waits is served afterwards
                await asyncio.sleep(0.2)
                continue
            await asyncio.gather(*(timed(request, number) for request in requests))
            number += 1
            await asyncio.sleep(0.2)
        after = resident_megabytes(product)
    finally:
        part.thaw()
    thawed = time.monotonic()

    async def all_is_normal() -> None:
        for response in await asyncio.gather(*(ask(user, request, 0) for request in requests)):
            assert response.status_code in {200, 202}, response.text

    await eventually(all_is_normal, _BACK_SECONDS)
    back = time.monotonic() - thawed
    growth = {service: after[service] - size for service, size in before.items()}
    most = max(growth, key=lambda service: growth[service])
    print(
        f"\nR9: {name} frozen for {seconds:.0f} s: slowest answer {slowest:.1f} s, normal {back:.1f} s after, "
        f"most memory +{growth[most]:.0f} MB ({most}); {dict(sorted(answered.items()))}"
    )
    assert growth[most] <= _MOST_MEGABYTES, growth
    assert back <= _BACK_SECONDS


async def freeze_with_documents(product: Product, name: str, seconds: float) -> None:
    async with product.user(await product.new_tenant()) as user:
        await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        await freeze(product, user, name, seconds)

        async def every_document_is_ready() -> None:
            items = (await user.http.get("/v1/files", params={"limit": 100})).json()["items"]
            assert {item["status"] for item in items} == {"ready"}

        await eventually(every_document_is_ready, 60)
    await product.healthy()


@pytest.mark.full
@pytest.mark.parametrize("name", ["chat", "usage"])
async def test_a_frozen_service_is_told_at_once(product: Product, stub_provider: StubProviderHandle, name: str) -> None:
    await freeze_with_documents(product, name, 3)


@pytest.mark.soak
@pytest.mark.parametrize("name", list(FREEZES))
async def test_any_part_frozen_for_long_is_told_at_once(
    product: Product, stub_provider: StubProviderHandle, name: str
) -> None:
    await freeze_with_documents(product, name, 20)
