"""One stream tells of all documents and turns of a user, wherever they happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from docuchat_testkit.product import Product, User, answer_text, small_pdf


class Told(NamedTuple):
    """One event."""

    name: str
    id: str
    data: dict[str, Any]


async def follow(user: User, last_event_id: str | None = None) -> AsyncIterator[Told]:
    headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
    async with user.http.stream("GET", "/v1/events", headers=headers, timeout=60) as response:
        assert response.status_code == 200, await response.aread()
        fields: dict[str, str] = {}
        async for line in response.aiter_lines():
            name, _, value = line.partition(": ")
            fields[name] = value
            if not line and "data" in fields:
                yield Told(fields["event"], fields["id"], json.loads(fields["data"]))
                fields = {}


async def test_one_stream_tells_of_documents_and_of_turns_that_were_asked_anywhere(embedded_product: Product) -> None:
    async with embedded_product.user(await embedded_product.new_tenant()) as user, asyncio.timeout(120):
        seen: list[Told] = []
        events = follow(user)
        assert (await anext(events)).name == "hello"
        document = await user.upload(small_pdf(("The contract ends in May.",)))
        while not seen or seen[-1].data.get("status") != "ready":
            seen.append(await anext(events))
        assert {told.name for told in seen} == {"document"}
        assert {told.data["id"] for told in seen} == {document["id"]}

        of_socket = await user.ask("When does the contract end?")
        begun = await user.http.post("/v1/chat", json={"message": "When does it end?", "detach": True})
        assert begun.status_code == 202, begun.text
        turns = {of_socket[0]["turn_id"]: 0, begun.json()["turn_id"]: 0}
        frames: dict[str, list[dict[str, Any]]] = {turn: [] for turn in turns}
        while not all(told and told[-1]["type"] == "end" for told in frames.values()):
            told = await anext(events)
            if told.name == "chat":  # it has got its title
                continue
            frames[told.data["turn_id"]].append(told.data)
            if told.name == "sources":  # a connection that is cut, and goes on behind what was read
                await events.aclose()
                events = follow(user, told.id)
                assert (await anext(events)).name == "hello"
        for told_frames in frames.values():
            assert [frame["type"] for frame in told_frames[:2]] == ["start", "sources"]
            assert answer_text(told_frames)
        assert frames[of_socket[0]["turn_id"]] == of_socket

        assert (await user.http.delete(f"/v1/files/{document['id']}")).status_code == 200
        told = await anext(events)
        while told.name == "chat":
            told = await anext(events)
        assert (told.name, told.data["id"]) == ("document_deleted", document["id"])
        chat_id = of_socket[0]["chat_id"]
        assert (await user.http.patch(f"/v1/chats/{chat_id}", json={"title": "May"})).status_code == 200
        told = await anext(events)
        assert (told.name, told.data["id"], told.data["title"]) == ("chat", chat_id, "May")
        await events.aclose()
