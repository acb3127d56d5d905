"""Tokens are counted once, whoever hangs up; a budget for ten admits ten."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from docuchat_testkit.eventually import eventually
from docuchat_testkit.pdf import pdf_of
from docuchat_testkit.product import Product, User, answer_text, frames_until_end, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

_LEAFLET = small_pdf(("The warranty of the kettle lasts 36 months.",))
_MAX_OUTPUT = 1024  # MAX_OUTPUT_TOKENS
_QUESTION = "How long does the warranty last?"


async def hang_up_on_socket(user: User, message: str, after: int) -> None:
    """Ask, and drop the connection after so many deltas, every second time without a goodbye."""
    async with user.socket() as socket:
        await socket.send(json.dumps({"message": message}))
        deltas = 0
        while deltas < after:
            frame = json.loads(await socket.recv())
            if frame["type"] in {"end", "error"}:
                return
            deltas += frame["type"] == "delta"
        if after % 2:
            socket.transport.abort()


async def hang_up_on_stream(user: User, message: str, after: int) -> None:
    body = {"message": message, "stream": True}
    async with user.http.stream("POST", "/v1/chat", json=body) as response:
        deltas = 0
        async for line in response.aiter_lines():
            deltas += line.startswith("event: delta")
            if deltas >= after:
                return


async def test_fifty_chats_whose_clients_leave_are_booked_to_the_token(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    await user.ready(_LEAFLET)
    stub_provider.control(
        Rule(endpoint="chat", contains="cut", exact_tokens=40, rate=80, cut_after=17),
        Rule(endpoint="chat", contains="unmetered", exact_tokens=40, rate=80, usage_frame=False),
        Rule(endpoint="chat", exact_tokens=60, rate=80),
    )
    chance = random.Random(20261120)
    kinds = ("", "", "", "cut", "unmetered")
    turns = []
    for number in range(50):
        message = f"How long does the warranty last? {kinds[number % 5]} {number}"
        hang_up = hang_up_on_socket if number % 2 else hang_up_on_stream
        turns.append(hang_up(user, message, chance.randrange(0, 30)))
    await asyncio.gather(*turns)

    async def books_agree() -> None:
        served, booked = stub_provider.counts(), await product.booked(user.tenant_id)
        calls = [call for call in stub_provider.calls() if call.endpoint == "chat"]
        assert [call.outcome for call in calls if call.outcome == "open"] == []
        assert booked["chats"] == len(calls)
        assert booked["prompt_tokens"] - served.prompt_tokens == 0
        assert booked["completion_tokens"] - served.completion_tokens == 0
        assert booked["embedding_tokens"] - served.embedding_tokens == 0
        assert (await user.usage())["quota"]["tokens"]["held"] == 0

    await eventually(books_agree, 45)
    # a client that left before its question was taken may have asked nothing; all the others did
    assert (await product.booked(user.tenant_id))["chats"] >= 45


async def test_a_budget_for_ten_admits_ten_of_a_hundred(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    # text without sentences makes full chunks, so that a hold shrinks by little once the prompt is known
    chance = random.Random(1)
    words = ("kettle", "warranty", "water", "handle", "table", "window", "garden", "bottle", "paper", "lamp")
    await user.ready(pdf_of(*(" ".join(chance.choices(words, k=11)) for _ in range(300))))
    question = {"message": "kettle warranty"}
    first = await user.http.post("/v1/chat", json=question)
    assert first.status_code == 200

    async def first_is_booked() -> dict[str, Any]:
        usage = await user.usage()
        assert usage["quota"]["tokens"]["held"] == 0
        assert usage["last_24h"]["output_tokens"] > 0
        return dict(usage["quota"]["tokens"])

    before = await eventually(first_is_booked)
    async with product.database() as connection:
        held = await connection.fetchval(
            "SELECT input_tokens FROM usage.holds WHERE tenant_id = $1 AND kind = 'chat'", user.tenant_id
        )
    most = held + _MAX_OUTPUT
    shrunk = first.json()["usage"]["input_tokens"] + _MAX_OUTPUT
    limit = 10 * most + 300
    assert 10 * shrunk + most > limit, "ten that have shrunk must leave no room for an eleventh"
    await product.set_quota(user.tenant_id, before["used"] + limit)
    stub_provider.reset()
    stub_provider.control(Rule(endpoint="chat", exact_tokens=100, rate=10))

    responses = await asyncio.gather(*(user.http.post("/v1/chat", json=question) for _ in range(100)))

    admitted = [response for response in responses if response.status_code == 200]
    refused = [response for response in responses if response.status_code == 429]
    assert (len(admitted), len(refused)) == (10, 90), {response.status_code for response in responses}
    for response in refused:
        problem = response.json()
        # nothing is spent, only holds stand in the way: soon there is room again
        assert problem["code"] == "quota_busy"
        assert 1 <= int(response.headers["retry-after"]) <= 60
    calls = stub_provider.calls()
    assert len([call for call in calls if call.endpoint == "chat"]) == 10
    # a refused question is not embedded either: the provider is not called for it at all
    assert len([call for call in calls if call.endpoint == "embeddings"]) == 10

    async def books_agree() -> None:
        served, after = stub_provider.counts(), (await user.usage())["quota"]["tokens"]
        assert after["held"] == 0
        assert after["used"] - before["used"] == served.total_tokens
        assert after["used"] <= after["limit"]

    await eventually(books_agree)


async def test_an_exhausted_quota_is_told_over_the_socket_before_the_provider_is_called(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    await user.ready(_LEAFLET)
    await product.set_quota(user.tenant_id, 1)
    stub_provider.reset()

    (frame,) = await user.ask(_QUESTION)

    assert (frame["type"], frame["code"]) == ("error", "quota_exceeded"), frame
    assert frame["retry_after"] >= 1
    assert frame["message"]
    assert stub_provider.calls() == []


async def test_a_dropped_answer_resumes_without_gap_repeat_or_second_call(
    user: User, stub_provider: StubProviderHandle
) -> None:
    await user.ready(_LEAFLET)
    stub_provider.control(Rule(endpoint="chat", exact_tokens=80, rate=60))
    async with user.socket() as socket:
        await socket.send(json.dumps({"message": _QUESTION}))
        seen = [json.loads(await socket.recv()) for _ in range(12)]
        socket.transport.abort()
    turn_id, after = seen[0]["turn_id"], seen[-1]["seq"]

    async with user.socket() as socket:
        await socket.send(json.dumps({"resume": turn_id, "after": after}))
        rest = await frames_until_end(socket)

    deltas = [frame for frame in rest if frame["type"] == "delta"]
    assert deltas[0]["seq"] == after + 1
    text = answer_text(seen + deltas)
    assert rest[-1]["type"] == "end"
    assert rest[-1]["usage"]["output_tokens"] == 80
    assert len([call for call in stub_provider.calls() if call.endpoint == "chat"]) == 1
    messages = (await user.http.get("/v1/messages", params={"chat_id": seen[0]["chat_id"]})).json()["items"]
    assert text in [message["content"] for message in messages]

    # once it has ended it resumes all the same, from what is stored, by socket and by server-sent events
    async with user.socket() as socket:
        await socket.send(json.dumps({"resume": turn_id, "after": 0}))
        assert answer_text([frame for frame in await frames_until_end(socket) if frame["type"] == "delta"]) == text
    events = await user.http.get(f"/v1/turns/{turn_id}/events", headers={"Last-Event-ID": str(after)})
    tokens = [
        json.loads(line[5:])["token"] for line in events.text.splitlines() if line.startswith('data: {"type":"delta"')
    ]
    assert "".join(tokens) == "".join(frame["token"] for frame in deltas)


async def test_a_stopped_answer_ends_early_and_is_booked_once(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    await user.ready(_LEAFLET)
    stub_provider.control(Rule(endpoint="chat", exact_tokens=400, rate=40))
    async with user.socket() as socket:
        await socket.send(json.dumps({"message": _QUESTION}))
        seen = [json.loads(await socket.recv()) for _ in range(8)]
        await socket.send(json.dumps({"stop": seen[0]["turn_id"]}))
        rest = await frames_until_end(socket)
    assert (rest[-1]["type"], rest[-1]["finish_reason"]) == ("end", "stopped")
    answer_text(seen + rest)

    async def booked_once() -> None:
        booked, served = await product.booked(user.tenant_id), stub_provider.counts()
        assert booked["chats"] == 1
        assert booked["prompt_tokens"] == served.prompt_tokens
        # one paced token may have left the provider while the connection was being closed
        assert 0 <= served.completion_tokens - booked["completion_tokens"] <= 2
        assert booked["completion_tokens"] < 400
        assert (await user.usage())["quota"]["tokens"]["held"] == 0

    await eventually(booked_once)
