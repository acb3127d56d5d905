"""P10: what chat feels of people who sign in by password: its p95 with ten of them a second beside it, and without.

Both are measured in turns in the same run, so that whatever else the machine does meets both.
"""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress

import aiohttp
import collection
from client import Conversation, connect_all, open_session
from harness import TENANT, Bench, percentile, say

from docuchat_testkit.provider_rules import Rule

SIGN_INS_A_SECOND = 10
AT_ONCE = 4
PASSWORD = "seven purple harbours"
PEOPLE = 20
"""Each signs in from the same address and all of them are right: successes use no budget up."""


def run(bench: Bench) -> None:
    bench.start()
    asyncio.run(_run(bench))


async def _run(bench: Bench) -> None:
    questions = itertools.cycle(collection.questions())
    windows, seconds = (2, 3.0) if bench.quick else (5, 6.0)
    async with open_session() as session:
        people = [await _register(bench, session, number) for number in range(PEOPLE)]
        conversations = await connect_all(bench, session, AT_ONCE)
        bench.stub.control(Rule(exact_tokens=20))
        await _ask_for(2.0, conversations, questions)  # warm
        alone: list[float] = []
        beside: list[float] = []
        taken: list[float] = []
        begun: list[float] = []
        for _ in range(windows):
            alone += await _ask_for(seconds, conversations, questions)
            signing = asyncio.create_task(_sign_in_for_ever(bench, session, people, begun, taken))
            beside += await _ask_for(seconds, conversations, questions)
            signing.cancel()
            with suppress(asyncio.CancelledError):
                await signing
        for conversation in conversations:
            await conversation.close()
    bench.stub.control()
    before, after = percentile(alone, 0.95), percentile(beside, 0.95)
    add = bench.report.add
    add("P10", f"chat p95 without sign-ins, {AT_ONCE} at once, {len(alone)} turns", f"{before * 1000:.0f} ms")
    is_met = after <= 1.2 * before and len(taken) >= 0.9 * len(begun)
    what = f"chat p95 beside {SIGN_INS_A_SECOND} password sign-ins/s, times that without"
    add("P10", what, f"{after / before:.2f} x ({after * 1000:.0f} ms)", "<= 1.2 x", is_met)
    add("P10", "  sign-ins let in, of those begun; fewer than 9 of 10 show nothing", f"{len(taken)} of {len(begun)}")
    add("P10", "  a sign-in, p50 and p95", _both(taken))


def _both(taken: list[float]) -> str:
    return f"{percentile(taken, 0.5) * 1000:.0f}, {percentile(taken, 0.95) * 1000:.0f} ms" if taken else "none"


async def _register(bench: Bench, session: aiohttp.ClientSession, number: int) -> str:
    name = f"bench-{number}"
    body = {"username": name, "password": PASSWORD}
    headers = {"X-Tenant-ID": str(TENANT)}
    url = f"{bench.product.gateway_url}/v1/auth/register"
    async with session.post(url, json=body, headers=headers) as answer:
        if answer.status not in (201, 409):  # 409: of a benchmark before
            raise RuntimeError(await answer.text())
    return name


async def _sign_in_for_ever(
    bench: Bench, session: aiohttp.ClientSession, people: list[str], begun: list[float], taken: list[float]
) -> None:
    """Begin one every tenth of a second, whether or not those before have ended."""
    loop = asyncio.get_running_loop()
    url, headers = f"{bench.product.gateway_url}/v1/auth/login", {"X-Tenant-ID": str(TENANT)}

    async def sign_in(name: str) -> None:
        began = loop.time()
        begun.append(began)
        body = {"username": name, "password": PASSWORD}
        async with session.post(url, json=body, headers=headers) as answer:
            await answer.read()
            if answer.status == 200:
                taken.append(loop.time() - began)
            else:
                say(f"a sign-in was answered with {answer.status}")

    async with asyncio.TaskGroup() as group:
        for name in itertools.cycle(people):
            group.create_task(sign_in(name))
            await asyncio.sleep(1 / SIGN_INS_A_SECOND)


async def _ask_for(seconds: float, conversations: list[Conversation], questions: itertools.cycle[str]) -> list[float]:
    """Seconds of whole turns, of conversations that ask again as soon as they are answered."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    found: list[float] = []

    async def keep_asking(conversation: Conversation) -> None:
        while loop.time() < until:
            began = loop.time()
            stream = await conversation.ask(next(questions))
            if stream.error:
                say(f"a turn failed: {stream.error[:200]}")
            else:
                found.append(loop.time() - began)

    await asyncio.gather(*map(keep_asking, conversations))
    return found
