"""P4 and P5: tokens a second through gateway and chat, many paced streams open at once, chats started per second."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import httpx2
from client import Conversation, Stream, ask_bare, connect_all, open_session
from harness import BOOK, Bench, difference, distinct, percentile, product_cpu, ready, say, upload

from docuchat_testkit.provider_answers import filler
from docuchat_testkit.provider_rules import Call, Rule

STREAMS = 50
PREPARATION_SECONDS = 4.0
OPENING_AT_ONCE = 12
MOST_OPENING_SECONDS, OPENED_WITHIN_SECONDS = 60, 10
RATE = 20
QUESTION = "What does the collection say about the Norman conquest?"


def run_throughput(bench: Bench) -> None:
    bench.start()
    asyncio.run(_have_book(bench))
    asyncio.run(_throughput(bench))


def run_open(bench: Bench) -> None:
    """The most open streams that hold, from 1,000 downwards."""
    bench.start()
    asyncio.run(_have_book(bench))
    for count in (100,) if bench.quick else (1000, 500, 250):
        if asyncio.run(_open(bench, count, judged=count in (100, 1000))):
            break


def run_starts(bench: Bench) -> None:
    bench.start()
    asyncio.run(_have_book(bench))
    asyncio.run(_starts(bench))


async def _have_book(bench: Bench) -> None:
    """Something to find: one book, unless the tenant has documents."""
    async with open_session() as session:
        async with session.get(f"{bench.product.gateway_url}/v1/files?limit=1", headers=bench.headers) as response:
            if (await response.json())["items"]:
                return
        book = await upload(session, bench, distinct(BOOK.read_bytes(), "P4"), "book.pdf")
        await ready(session, bench, book["id"], 0.1)


async def _throughput(bench: Bench) -> None:
    tokens = 1_000 if bench.quick else 8_000
    expected = filler(tokens).text
    async with open_session() as session:
        bench.stub.control(Rule(exact_tokens=50))
        conversations = await connect_all(bench, session, STREAMS)
        await asyncio.gather(*(c.ask(QUESTION) for c in conversations))
        rates, bare_rates = [], []
        cpu: dict[str, float] = {}
        total = 0
        for _ in range(2):
            bench.stub.reset()
            # the provider waits until all questions are asked, so that streaming is measured and not preparation
            bench.stub.control(Rule(exact_tokens=tokens, first_token_delay=PREPARATION_SECONDS))
            before = product_cpu(bench.product)
            streams = await asyncio.gather(*(c.ask(f"{QUESTION} {n}") for n, c in enumerate(conversations)))
            calls = bench.stub.calls()
            counted = sum(call.completion_tokens for call in calls)
            cpu = difference(product_cpu(bench.product), before)
            wrong = [stream for stream in streams if stream.error or stream.text() != expected]
            if wrong or counted != sum(stream.tokens for stream in streams):
                say(f"{len(wrong)} wrong streams, provider counted {counted}: {wrong[0].error if wrong else ''}")
                bench.report.add("P4", "tokens arrived as the provider sent them", "no", "all", met=False)
            total += counted
            began = min(call.first_token_at for call in calls if call.first_token_at)
            rates.append(sum(s.tokens for s in streams) / (max(s.ended for s in streams) - began))
            bare_rates.append(
                _rate(await asyncio.gather(*(ask_bare(bench, session, QUESTION) for _ in range(STREAMS))))
            )
        for conversation in conversations:
            await conversation.close()
    rate, bare = max(rates), max(bare_rates)
    add = bench.report.add
    add(
        "P4",
        f"tokens/s over {STREAMS} streams, gateway and chat ({total:,} tokens)",
        f"{rate:,.0f}",
        ">= 50,000",
        rate >= 50_000,
    )
    add("P4", "tokens/s, a bare client on the same provider", f"{bare:,.0f}")
    deltas = sum(len(stream.arrivals) for stream in streams)
    add("P4", "tokens a delta frame carried, on average", f"{tokens * STREAMS / deltas:.1f}")
    add(
        "P4",
        "CPU s per million tokens: gateway / chat",
        f"{cpu['gateway'] * 1e6 / tokens / STREAMS:.1f} / {cpu['chat'] * 1e6 / tokens / STREAMS:.1f}",
    )
    bench.stub.control()


def _rate(streams: Sequence[Stream]) -> float:
    """Tokens a second of bare streams, from the first token of any to the end of all."""
    return sum(s.tokens for s in streams) / (max(s.ended for s in streams) - min(s.first for s in streams if s.first))


async def _open(bench: Bench, count: int, *, judged: bool) -> bool:
    """`count` streams at 20 tokens/s; lag is measured while all are open, against the provider's own schedule."""
    seconds = 6.0 if bench.quick else 12.0
    bare = await _paced(bench, count, seconds, bare=True)
    product = await _paced(bench, count, seconds, bare=False)
    if not product.lags or not bare.lags:
        raise RuntimeError("no stream was open")
    added = percentile(product.lags, 0.99) - percentile(bare.lags, 0.99)
    add = bench.report.add
    held = product.opened == count and product.dropped == 0
    in_time = held and product.ramp <= OPENED_WITHIN_SECONDS
    what = f"{count} streams at {RATE} tokens/s: opened in {product.ramp:.0f} s, dropped"
    target = (f"all in {OPENED_WITHIN_SECONDS} s, none", in_time) if judged else ("", None)
    add("P4", what, f"{product.opened}, {product.dropped}", *target)
    limits = ("<= 100 ms", held and added <= 0.100) if judged else ("", None)
    add("P4", f"{product.opened} open streams: added lag p99", f"{added * 1000:,.0f} ms", *limits)
    shown = [
        percentile(product.lags, 0.5),
        percentile(product.lags, 0.99),
        max(product.lags),
        percentile(bare.lags, 0.99),
    ]
    add("P4", "  lag p50 / p99 / max; the bare client's p99", " / ".join(f"{1000 * v:,.0f}" for v in shown) + " ms")
    cores = " / ".join(f"{product.cores[name]:.2f}" for name in ("gateway", "chat", "client"))
    add("P4", "  cores: gateway / chat / measuring client", cores)
    return in_time and added <= 0.100


@dataclass(slots=True)
class _Paced:
    lags: list[float]
    """Of each token that came while all streams were open: when it came less when the provider was to send it."""
    opened: int
    dropped: int
    cores: dict[str, float]
    ramp: float


async def _paced(bench: Bench, count: int, seconds: float, *, bare: bool) -> _Paced:
    bench.stub.reset()
    bench.stub.control(Rule(exact_tokens=16_000, rate=RATE))
    streams = [Stream() for _ in range(count)]
    gate = asyncio.Semaphore(OPENING_AT_ONCE)
    gc.disable()  # a pause of the measuring client would be taken for lag
    try:
        async with open_session() as session:
            conversations = [Conversation(bench, session) for _ in range(0 if bare else count)]
            begun = time.time()

            async def follow(number: int) -> None:
                try:
                    if bare:
                        await ask_bare(bench, session, QUESTION, streams[number])
                    else:
                        await conversations[number].connect()
                        await conversations[number].ask(QUESTION, streams[number])
                except aiohttp.ClientError as error:
                    streams[number].error = repr(error)
                finally:
                    streams[number].opened.set()

            async def open_one(number: int) -> asyncio.Task[None] | None:
                async with gate:
                    if time.time() - begun > MOST_OPENING_SECONDS:
                        return None
                    task = asyncio.create_task(follow(number))
                    await streams[number].opened.wait()
                    return task

            tasks = [t for t in await asyncio.gather(*(open_one(n) for n in range(count))) if t is not None]
            ramp = time.time() - begun
            await asyncio.sleep(1)
            since, before, own = time.time(), product_cpu(bench.product), time.process_time()
            await asyncio.sleep(seconds)
            until, used = time.time(), difference(product_cpu(bench.product), before)
            used["client"] = time.process_time() - own
            dropped = sum(stream.ended > 0 or bool(stream.error) for stream in streams)
            if bare:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            else:
                running = [n for n, s in enumerate(streams) if s.first and not s.ended and not s.error]
                for n in running:
                    await conversations[n].stop(streams[n])
                await asyncio.wait(tasks, timeout=60)
                await asyncio.gather(*(c.close() for c in conversations))
    finally:
        gc.enable()
    if dropped:
        say(f"dropped: {next(stream.error or 'ended early' for stream in streams if stream.error or stream.ended)}")
    lags = _lags(streams, bench.stub.calls(), since, until)
    cores = {name: value / (until - since) for name, value in used.items()}
    return _Paced(lags, sum(stream.first > 0 for stream in streams), dropped, cores, ramp)


def _lags(streams: Sequence[Stream], calls: Sequence[Call], since: float, until: float) -> list[float]:
    # the provider's streams began nearly in the order in which ours got their first tokens
    starts = sorted(call.first_token_at for call in calls if call.first_token_at)
    lags: list[float] = []
    for start, stream in zip(starts, sorted((s for s in streams if s.first), key=lambda s: s.first), strict=False):
        sent = 0
        for when, data in stream.arrivals:
            # the first of the tokens that this frame carries has waited longest
            if since <= when <= until:
                lags.append(when - (start + sent / RATE))
            sent += _tokens_in(data)
    return lags


def _tokens_in(data: str) -> int:
    """Every word of the paced answer is one token and begins with a space; the bare client writes an x for each."""
    token = data[data.index('"token":"') + 9 : -2]
    return token.count(" ") or token.count("x")


async def _starts(bench: Bench) -> None:
    seconds = 3.0 if bench.quick else 10.0
    product = bench.product
    bench.stub.reset()
    bench.stub.control(Rule(exact_tokens=20))
    booked = _booked(bench)
    async with open_session() as session:
        conversations = await connect_all(bench, session, STREAMS)
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds

        async def keep_asking(conversation: Conversation, number: int) -> list[Stream]:
            streams = []
            while loop.time() < until:
                streams.append(await conversation.ask(f"{QUESTION} {number} {len(streams)}"))
            return streams

        await asyncio.gather(*(c.ask(QUESTION) for c in conversations))
        until = loop.time() + seconds
        before, begun = product_cpu(product), time.perf_counter()
        parts = await asyncio.gather(*(keep_asking(c, n) for n, c in enumerate(conversations)))
        took = time.perf_counter() - begun
        used = difference(product_cpu(product), before)
        for conversation in conversations:
            await conversation.close()
    streams = [stream for part in parts for stream in part]
    failed = [stream for stream in streams if stream.error]
    if failed:
        say(f"{len(failed)} of {len(streams)} failed, such as: {failed[0].error[:200]}")
    rate = (len(streams) - len(failed)) / took
    add = bench.report.add
    add("P5", f"chats started and answered per second, {STREAMS} clients, one book", f"{rate:.0f}")
    add("P5", "chats that failed", str(len(failed)), "0", not failed)
    add("P5", "CPU ms a chat, all processes of the product", f"{1000 * sum(used.values()) / len(streams):.1f}")
    shares = sorted(used.items(), key=lambda item: -item[1])[:6]
    add("P5", "  of these", ", ".join(f"{name} {1000 * value / len(streams):.1f}" for name, value in shares))
    counts = bench.stub.counts()
    deadline = time.monotonic() + 60
    while True:
        total = _booked(bench) - booked
        if total == counts.completion_tokens or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    add(
        "P5",
        "ledger's output tokens minus the provider's count",
        str(total - counts.completion_tokens),
        "0",
        total == counts.completion_tokens,
    )
    bench.stub.control()


def _booked(bench: Bench) -> int:
    url = f"{bench.product.gateway_url}/v1/usage"
    return int(
        httpx2.get(url, headers=bench.headers, timeout=20).raise_for_status().json()["last_24h"]["output_tokens"]
    )
