"""R12: each service, a single process, restarted under load: nobody is refused."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from docuchat_testkit.product import Product, User, answer_text, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

_PATHS = ("/v1/files", "/v1/chats", "/v1/usage", "/v1/users/me")


async def whole_answer(user: User, message: str) -> tuple[str, int]:
    """Ask over the socket, resuming whenever it closes; the last frame's type, and how often it was resumed."""
    frames: list[dict[str, object]] = []
    resumed = -1
    body: dict[str, object] = {"message": message}
    while True:
        resumed += 1
        try:
            async with asyncio.timeout(60), user.socket() as socket:
                await socket.send(json.dumps(body))
                while not frames or frames[-1]["type"] not in {"end", "error"}:
                    frames.append(json.loads(await socket.recv()))
        except ConnectionClosed:
            assert frames and resumed < 10, "the socket closed before the question was taken"
            deltas = [frame for frame in frames if frame["type"] == "delta"]
            body = {"resume": frames[0]["turn_id"], "after": deltas[-1]["seq"] if deltas else 0}
        else:
            answer_text(frames)
            return str(frames[-1].get("code", frames[-1]["type"])), resumed


async def roll(product: Product, provider: StubProviderHandle, rounds: int) -> None:
    outcomes: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    resumes = 0
    rolling = True
    provider.control(Rule(endpoint="chat", exact_tokens=60, rate=60))

    async def repeat(action: Callable[[], Awaitable[str]]) -> None:
        while rolling:
            try:
                outcomes[await action()] += 1
            except httpx2.HTTPError as error:
                outcomes[f"{type(error).__name__} {error}"] += 1
            await asyncio.sleep(0.05)

    async with product.user(await product.new_tenant()) as user:
        await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        alone = httpx2.Limits(max_keepalive_connections=0)
        async with (
            product.client(headers=user.headers, limits=alone) as each_its_own,
            product.client(headers=user.headers) as kept,
        ):

            def getter(path: str, http: httpx2.AsyncClient) -> Callable[[], Awaitable[str]]:
                async def get() -> str:
                    response = await http.get(path)
                    return "200" if response.status_code == 200 else f"{path} {response.status_code} {response.text}"

                return get

            async def chat() -> None:
                nonlocal resumes
                while rolling:
                    end, resumed = await whole_answer(user, "How long does the warranty last?")
                    ended[end] += 1
                    await asyncio.sleep(0.05)
                    resumes += resumed

            load = [asyncio.create_task(repeat(getter(path, http))) for path in _PATHS for http in (each_its_own, kept)]
            load += [asyncio.create_task(chat()) for _ in range(2)]
            told: list[str] = []
            for _ in range(rounds):
                await asyncio.to_thread(product.running.restart, say=told.append)
            rolling = False
            await asyncio.gather(*load)
    requests, failed = outcomes.total(), outcomes.total() - outcomes["200"]
    print(
        f"\nR12: {', '.join(told)}: {failed} of {requests} requests failed, {ended.total()} answers {dict(ended)}, "
        f"{resumes} resumed"
    )
    assert failed == 0, outcomes
    assert set(ended) == {"end"}, ended


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_services_restarted_under_load_refuse_nobody(product: Product, stub_provider: StubProviderHandle) -> None:
    await roll(product, stub_provider, 1)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_services_restarted_again_and_again_under_load_refuse_nobody(
    product: Product, stub_provider: StubProviderHandle
) -> None:
    await roll(product, stub_provider, 5)
