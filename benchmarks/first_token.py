"""P3: what product and retrieval add to the provider's own time to the first token.

The same questions go over the gateway's WebSocket and, in turns, from a bare client straight to the provider, with a
prompt as long as the product's. Three loads: one conversation; fifty at once that read a streamed answer each (from a
provider that thinks 300 ms and then writes 40 tokens/s); fifty questions in the same instant.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter

import collection
from client import Conversation, Stream, ask_bare, connect_all, open_session
from harness import Bench, difference, percentile, product_cpu, say

from docuchat_testkit.provider_rules import Rule

AT_ONCE = 50
PROMPT_CHARACTERS = 6 * 1_250
"""Six passages of the collection."""


def run(bench: Bench) -> None:
    wanted = 5_000 if bench.quick else 100_000
    held = asyncio.run(collection.load(bench.product.postgres_admin_url, wanted))
    asyncio.run(_run(bench, held))


async def _run(bench: Bench, held: int) -> None:
    asked = collection.questions()
    random.Random(11).shuffle(asked)
    questions = itertools.cycle(asked)
    paced = Rule(first_token_delay=0.3, rate=40, exact_tokens=80)
    async with open_session() as session:
        conversations = await connect_all(bench, session, AT_ONCE)
        one = conversations[0]
        bench.stub.control(Rule(exact_tokens=20))
        for _ in range(20 if bench.quick else 100):  # every question's words are new to the cache only once
            await one.ask(next(questions))

        product: list[Stream] = []
        bare: list[Stream] = []
        for _ in range(40 if bench.quick else 200):
            product.append(await one.ask(next(questions)))
            bare.append(await ask_bare(bench, session, _prompt(next(questions))))
        _report(bench, "1 at once", held, product, bare)

        bench.stub.control(paced)
        product, bare = [], []
        used: Counter[str] = Counter()
        seconds = 3.0 if bench.quick else 9.0
        for _ in range(2):
            before = product_cpu(bench.product)
            product += await _for_a_while(seconds, [_asker(c, questions) for c in conversations])
            used.update(difference(product_cpu(bench.product), before))
            bare += await _for_a_while(seconds / 2, [_bare_asker(bench, session, questions) for _ in range(AT_ONCE)])
        _report(bench, f"{AT_ONCE} at once", held, product, bare)
        shares = ", ".join(f"{name} {1000 * value / len(product):.1f}" for name, value in used.most_common(5))
        bench.report.add("P3", f"  CPU ms a turn of 80 tokens, {AT_ONCE} at once", shares)

        bench.stub.control(Rule(exact_tokens=20))
        product, bare = [], []
        for _ in range(2 if bench.quick else 6):
            product += await asyncio.gather(*(c.ask(next(questions)) for c in conversations))
            await asyncio.sleep(0.5)
            bare += await asyncio.gather(*(ask_bare(bench, session, _prompt(next(questions))) for _ in range(AT_ONCE)))
        _report(bench, f"{AT_ONCE} in one instant", held, product, bare)
        for conversation in conversations:
            await conversation.close()
    bench.stub.control()


def _prompt(question: str) -> str:
    text = "The collection's sentences are about as long as this one and there are many of them. "
    return (text * (PROMPT_CHARACTERS // len(text) + 1))[:PROMPT_CHARACTERS] + "\n" + question


def _asker(conversation: Conversation, questions: itertools.cycle[str]):
    return lambda: conversation.ask(next(questions))


def _bare_asker(bench: Bench, session, questions: itertools.cycle[str]):
    return lambda: ask_bare(bench, session, _prompt(next(questions)))


async def _for_a_while(seconds: float, askers) -> list[Stream]:
    """Each asks again as soon as its answer has ended; they begin apart from one another, as people do."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def keep_asking(number: int, ask) -> list[Stream]:
        await asyncio.sleep(2.3 * number / len(askers))
        streams = []
        while loop.time() < until:
            streams.append(await ask())
        return streams

    parts = await asyncio.gather(*(keep_asking(n, ask) for n, ask in enumerate(askers)))
    return [stream for part in parts for stream in part]


def _report(bench: Bench, load: str, held: int, product: list[Stream], bare: list[Stream]) -> None:
    failed = [stream for stream in (*product, *bare) if stream.error or not stream.first]
    if failed:
        say(f"{len(failed)} of {len(product) + len(bare)} failed, such as: {failed[0].error[:200]}")
    own = [stream.first_token_seconds for stream in bare if stream.first]
    whole = [stream.first_token_seconds for stream in product if stream.first]
    add = bench.report.add
    for share in (0.5, 0.95):
        added = percentile(whole, share) - percentile(own, share)
        what = f"first token, added p{100 * share:.0f}, {load}, {held:,} chunks ({len(whole)} turns)"
        add("P3", what, f"{added * 1000:.1f} ms")
    add(
        "P3",
        f"  the provider's own p50 / p95, {load}",
        f"{percentile(own, 0.5) * 1000:.1f} / {percentile(own, 0.95) * 1000:.1f} ms",
    )
    add("P3", f"  turns that failed, {load}", str(len(failed)), "0", not failed)
