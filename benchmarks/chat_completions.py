"""P3: the first token through `/v1/chat/completions` beside that of `/v1/chat`, of the same questions in the same run.

Both are streams over HTTP through the gateway, asked in turns, so that what else the machine does weighs on both alike.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time

import aiohttp
import collection
from client import open_session
from harness import MODEL, Bench, percentile, say

from docuchat_testkit.provider_rules import Rule

MOST = 1.1


def run(bench: Bench) -> None:
    wanted = 5_000 if bench.quick else 100_000
    held = asyncio.run(collection.load(bench.product.postgres_admin_url, wanted))
    asyncio.run(_run(bench, held))


async def _run(bench: Bench, held: int) -> None:
    asked = collection.questions()
    random.Random(12).shuffle(asked)
    questions = itertools.cycle(asked)
    bench.stub.control(Rule(exact_tokens=20))
    own: list[float] = []
    theirs: list[float] = []
    async with open_session() as session:
        for number in range(60 if bench.quick else 300):
            question = next(questions)
            chat = ("/v1/chat", {"message": question, "stream": True}, b"event: delta", own)
            messages = [{"role": "user", "content": question}]
            completion = {"model": MODEL, "messages": messages, "stream": True}
            completions = ("/v1/chat/completions", completion, b'"delta":{"content":', theirs)
            # who comes first finds the question's words new to the caches
            for path, body, mark, seconds in (chat, completions) if number % 2 else (completions, chat):
                seconds.append(await _first_token(bench, session, path, body, mark))
    bench.stub.control()
    warm = len(own) // 6
    own, theirs = own[warm:], theirs[warm:]
    for share in (0.5, 0.95):
        ratio = percentile(theirs, share) / percentile(own, share)
        say(f"p{100 * share:.0f}: {1000 * percentile(own, share):.1f} and {1000 * percentile(theirs, share):.1f} ms")
        what = f"first token, /v1/chat/completions : /v1/chat, p{100 * share:.0f}, {held:,} chunks ({len(own)} of each)"
        is_goal = share == 0.5
        bench.report.add(
            "P3", what, f"{ratio:.3f}", f"<= {MOST}" if is_goal else "", ratio <= MOST if is_goal else None
        )


async def _first_token(
    bench: Bench, session: aiohttp.ClientSession, path: str, body: dict[str, object], mark: bytes
) -> float:
    """Seconds until the first delta with a text; the answer is read to its end."""
    began = time.perf_counter()
    first = 0.0
    seen = b""
    async with session.post(bench.product.gateway_url + path, json=body, headers=bench.headers) as response:
        response.raise_for_status()
        async for chunk in response.content.iter_any():
            if not first:
                seen += chunk
                if mark in seen:
                    first = time.perf_counter() - began
    assert first, f"{path} gave no token"
    return first
