"""All documents and turns of a user in one stream, which goes on where it was left."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from services.gateway.tests.conftest import Gateway, OpenGateway
from services.gateway.tests.fakes import Behind, event

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.ids import CollectionId, DocumentId, TenantId
from docuchat_common.redis import open_redis
from docuchat_common.user_events import (
    Position,
    UserEvent,
    UserEventKind,
    UserEventReader,
    UserEventWriter,
    stream_key,
)
from docuchat_gateway.events.cursor import Cursor, after
from docuchat_gateway.events.service import EventService
from docuchat_gateway.events.turns import Turns
from docuchat_knowledge.documents.domain import Document, DocumentStatus
from docuchat_testkit.eventually import SLOWLY, eventually
from docuchat_testkit.identity import PAGE

PATH = "/v1/events"


class Event(NamedTuple):
    """One server-sent event."""

    name: str
    id: str | None
    data: dict[str, Any]


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[Event]:
    while True:
        try:
            block = (await response.content.readuntil(b"\n\n")).decode()
        except asyncio.IncompleteReadError:
            return
        if not block:
            return
        lines = dict(line.split(": ", 1) for line in block.strip().split("\n") if ": " in line)
        if "data" in lines:
            yield Event(lines["event"], lines.get("id"), json.loads(lines["data"]))


@dataclass
class ManyTurns:
    """Chat: serves the events of several turns behind any number, each a little at a time."""

    lengths: dict[str, int]
    is_down: bool = False
    asked: list[str] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        if self.is_down:
            return web.json_response({"code": "upstream_unavailable"}, status=503)
        if found := re.fullmatch(r"/v1/chats/([\w-]+)", request.path):
            return web.json_response({"id": found[1], "title": self.titles[found[1]], "messages": []})
        match = re.fullmatch(r"/v1/turns/([\w-]+)/events", request.path)
        turn = match[1] if match else ""
        if turn not in self.lengths:
            problem = {"type": "about:blank", "status": 404, "code": "turn_not_found", "detail": "Gone."}
            return web.json_response(problem, status=404)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Turn-ID": turn})
        await response.prepare(request)
        begin = int(request.query["after"])
        if not begin:
            await response.write(event("start", turn_id=turn) + event("sources", turn_id=turn, sources=[]))
        for seq in range(begin + 1, self.lengths[turn] + 1):
            await response.write(event("delta", turn_id=turn, seq=seq, token=f"{turn[:4]}-{seq} "))
            await asyncio.sleep(0)
        await response.write(event("end", turn_id=turn, seq=self.lengths[turn] + 1))
        return response

    def whole(self, turn: str) -> list[tuple[str, int]]:
        deltas = [("delta", seq) for seq in range(1, self.lengths[turn] + 1)]
        return [("start", 0), ("sources", 0), *deltas, ("end", self.lengths[turn] + 1)]


def of_turn(events: Sequence[Event], turn: str) -> list[tuple[str, int]]:
    return [(event.name, event.data.get("seq", 0)) for event in events if event.data.get("turn_id") == turn]


@pytest_asyncio.fixture
async def writer(redis_url: str) -> AsyncIterator[UserEventWriter]:
    async with (
        open_redis(redis_url, client_name="test", timeout=SLOWLY) as client,
        UserEventWriter.open(client) as writer,
    ):
        yield writer


@asynccontextmanager
async def stream(gateway: Gateway, path: str = PATH, **headers: str) -> AsyncIterator[AsyncIterator[Event]]:
    async with asyncio.timeout(30), gateway.http.get(path, headers=gateway.headers() | headers) as response:
        assert (response.status, response.headers["Content-Type"].split(";")[0]) == (200, "text/event-stream")
        yield events_of(response)


def holder(gateway: Gateway) -> str:
    return f"1:user:{gateway.user}"


async def test_documents_are_told_as_they_change_and_to_who_uploaded_them(
    gateway: Gateway, writer: UserEventWriter
) -> None:
    async with stream(gateway) as events:
        assert (await anext(events)).name == "hello"
        document = await (await gateway.upload()).json()
        told = await anext(events)
        assert (told.name, told.data["id"], told.data["status"]) == ("document", document["id"], "queued")
        await gateway.fetchval("UPDATE knowledge.documents SET status = 'failed', error_code = 'encrypted'")
        for _ in range(3):  # read at once: one event
            writer.add(holder(gateway), "document", uuid.UUID(document["id"]))
        while told.data["status"] != "failed":
            told = await anext(events)
        assert told.data["error"]["code"] == "encrypted"
        admin = gateway.mint.headers(role="admin")
        await gateway.call("DELETE", f"/v1/files/{document['id']}", headers=admin)
        while told.name != "document_deleted":
            told = await anext(events)
        assert told.data == {"type": "document_deleted", "id": document["id"]}


@pytest.mark.parametrize("read_each", [1, 3])
async def test_turns_are_followed_across_gateways_without_gap_or_repeat(
    open_gateway: OpenGateway, behind: Behind, writer: UserEventWriter, read_each: int
) -> None:
    turns = [str(uuid.uuid4()) for _ in range(3)]
    chat = ManyTurns(dict(zip(turns, (9, 4, 0), strict=True)))
    behind.answer = chat.answer
    seen: list[Event] = []
    async with open_gateway() as one, open_gateway() as two:
        two.user = one.user
        last = None
        for turn in turns:
            writer.add(holder(one), "turn", uuid.UUID(turn), f"1:user:{one.user}")
        for round_number in range(60):
            gateway = (one, two)[round_number % 2]
            async with stream(gateway, **({"Last-Event-ID": last} if last else {})) as events:
                assert (await anext(events)).name == "hello"
                if last is None:
                    writer.add(holder(one), "turn", uuid.UUID(turns[0]), f"1:user:{one.user}")  # written twice
                for _ in range(read_each):
                    told = await anext(events)
                    seen.append(told)
                    last = told.id
                    if all(of_turn(seen, turn)[-1:] == chat.whole(turn)[-1:] for turn in turns):
                        break
                else:
                    continue
            break
    for turn in turns:
        assert of_turn(seen, turn) == chat.whole(turn)


async def test_a_visitors_stream_tells_the_visitors_turns(
    gateway: Gateway, behind: Behind, writer: UserEventWriter
) -> None:
    visitor, turn = uuid.uuid4(), str(uuid.uuid4())
    chat = ManyTurns({turn: 1})
    behind.answer = chat.answer
    me = f"1:visitor:{visitor}"
    async with stream(gateway, **gateway.mint.visitor_headers(uuid.uuid4(), user_id=visitor)) as events:
        assert (await anext(events)).name == "hello"
        writer.add(me, "turn", uuid.UUID(turn), me)
        seen = [await anext(events) for _ in chat.whole(turn)]
    assert of_turn(seen, turn) == chat.whole(turn)
    assert behind.seen[-1].headers["Origin"] == PAGE  # chat takes a visitor's token from that page alone


async def test_a_page_that_opens_late_is_told_of_the_turns_that_still_run(
    gateway: Gateway, behind: Behind, writer: UserEventWriter
) -> None:
    over, running, foreign = (str(uuid.uuid4()) for _ in range(3))
    chat = ManyTurns({over: 1, running: 1, foreign: 1})
    behind.answer = chat.answer
    me = f"1:user:{gateway.user}"
    writer.add(me, "turn", uuid.UUID(over), me)
    writer.add(me, "turn", uuid.UUID(foreign), f"1:key:{uuid.uuid4()}")  # a key of the user: another subject's chat
    writer.add(me, "turn", uuid.UUID(running), me)
    writer.add(me, "turn_ended", uuid.UUID(over), me)
    await writer.finish()
    async with stream(gateway) as events:
        seen = [await anext(events) for _ in range(5)]
    assert {event.data.get("turn_id") for event in seen} == {None, running}
    assert of_turn(seen, running) == chat.whole(running)


async def test_a_restarted_chat_a_gone_turn_and_a_new_title_are_told(
    gateway: Gateway, behind: Behind, writer: UserEventWriter
) -> None:
    turn, gone, renamed = (str(uuid.uuid4()) for _ in range(3))
    chat = ManyTurns({turn: 2}, is_down=True, titles={renamed: "New"})
    behind.answer = chat.answer
    me = f"1:user:{gateway.user}"
    async with stream(gateway) as events:
        await anext(events)
        writer.add(me, "turn", uuid.UUID(turn), me)

        async def asked() -> bool:
            return len(chat.asked) >= 1

        await eventually(asked)
        chat.is_down = False
        seen = [await anext(events) for _ in chat.whole(turn)]
        assert of_turn(seen, turn) == chat.whole(turn)
        writer.add(me, "turn", uuid.UUID(turn), me)  # written twice: it is not told again
        writer.add(me, "turn", uuid.UUID(gone), me)
        assert ((told := await anext(events)).name, told.data["code"]) == ("error", "turn_not_found")
        writer.add(me, "chat", uuid.UUID(renamed))
        assert (await anext(events)).data == {"id": renamed, "title": "New"}


async def test_a_gap_that_cannot_be_filled_is_told(gateway: Gateway, writer: UserEventWriter) -> None:
    me, document = f"1:user:{gateway.user}", uuid.uuid4()
    async with stream(gateway) as events:
        first = (await anext(events)).id
        await writer._redis.delete(stream_key(me))
        writer.add(me, "document", document)
        assert (await anext(events)).name == "reset"
        writer.add(me, "lost", document)
        last = await anext(events)
        assert last.name == "reset"
        writer.add(me, "document", document)
        assert (await anext(events)).name == "document_deleted"  # there is no such document
    assert first is not None and last.id is not None
    for cursor, name in ((first, "reset"), ("junk", "reset"), (last.id, "hello")):
        async with stream(gateway, **{"Last-Event-ID": cursor}) as events:
            assert (await anext(events)).name == name
    async with stream(gateway, f"{PATH}?last_event_id={last.id}") as events:
        assert [(await anext(events)).name for _ in range(2)] == ["hello", "document_deleted"]


async def test_whose_entries_are_lost_is_told_so(redis_url: str) -> None:
    first, second = (f"1:user:{uuid.uuid4()}" for _ in range(2))
    async with open_redis(redis_url, client_name="test", timeout=SLOWLY) as client:
        writer, reader = UserEventWriter(client, most_waiting=2), UserEventReader(client)
        for holder_of in (first, second, second):  # while Redis is away, say
            writer.add(holder_of, "document", uuid.uuid4())
        await writer.finish()
        kinds = [[entry.kind for entry in (await reader.open(each))[1]] for each in (first, second)]
    assert kinds == [["lost"], ["document", "document"]]


async def test_a_ticket_opens_one_stream_once_for_who_asked(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    made = await gateway.call("POST", f"{PATH}/tickets", headers=gateway.headers())
    ticket = (await made.json())["ticket"]
    assert (made.status, (await made.json())["expires_in"]) == (201, 30)
    other = {"Authorization": "Bearer x.y.z"}
    refused = await gateway.call("GET", f"{PATH}?ticket={ticket}", headers=other)
    assert (refused.status, (await refused.json())["code"]) == (422, "two_credentials")

    document = await (await gateway.upload()).json()
    async with gateway.http.get(f"{PATH}?ticket={ticket}") as response:
        events = events_of(response)
        assert (await anext(events)).name == "hello"
        await gateway.call("DELETE", f"/v1/files/{document['id']}", headers=gateway.headers())
        told = await anext(events)
        assert (told.name, told.data["id"]) == ("document_deleted", document["id"])
    for used in (ticket, "never-was-one", "x" * 200):
        refused = await gateway.call("GET", f"{PATH}?ticket={used}")
        assert (refused.status, (await refused.json())["code"]) == (401, "ticket_invalid")
    assert ticket not in caplog.text
    assert (await gateway.call("GET", PATH)).status == 401


async def test_a_stream_ends_for_who_may_go_on_no_more_and_is_one_of_so_many(open_gateway: OpenGateway) -> None:
    async with open_gateway(max_progress_streams=1) as gateway, stream(gateway) as events:
        assert (await anext(events)).name == "hello"
        refused = await gateway.call("GET", PATH, headers=gateway.headers())
        assert (refused.status, (await refused.json())["code"]) == (429, "too_many_streams")
        gateway.mint.take_back("user", gateway.user, state="changed", version=1)
        ended = [told async for told in events]
    assert [(told.name, told.data["code"]) for told in ended] == [("error", "token_outdated")]


async def test_all_at_one_address_have_so_many_streams_whoever_they_are(open_gateway: OpenGateway) -> None:
    async with open_gateway(max_sockets_per_address=1) as gateway:
        visitors = [gateway.mint.visitor_headers(uuid.uuid4()) for _ in range(2)]
        async with gateway.http.get(PATH, headers=visitors[0]) as open_one:
            assert (await anext(events_of(open_one))).name == "hello"
            refused = await gateway.call("GET", PATH, headers=visitors[1])
            assert (refused.status, (await refused.json())["code"]) == (429, "too_many_streams")

        async def has_room() -> bool:
            return (await gateway.call("GET", f"{PATH}?seconds=1", headers=visitors[1])).status == 200

        await eventually(has_room)


async def test_a_stream_ends_after_a_while_and_says_when_to_come_again(open_gateway: OpenGateway) -> None:
    async with open_gateway(progress_longest="1s") as brief, open_gateway(progress_heartbeat="100ms") as gateway:

        async def whole(of: Gateway, path: str = PATH, **token: Any) -> str:
            return await (await of.call("GET", path, headers=of.headers(**token))).text()

        asked = whole(brief), whole(gateway, f"{PATH}?seconds=1"), whole(gateway, lifetime_seconds=4)
        async with asyncio.timeout(30):
            bodies = await asyncio.gather(*asked)
    for body in bodies:  # the longest that one may last, as was asked for, and as long as the token is good
        assert body.endswith("\n\nretry: 2000\n\n")
    assert "event: hello\nid: " in bodies[-1] and ": still here\n\n" in bodies[-1]


@dataclass
class Flaky:
    """User events whose Redis comes and goes."""

    is_away: bool = False
    entries: list[UserEvent] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self, _: str) -> tuple[Position, Sequence[UserEvent]]:
        return Position(1, 0), ()

    async def read(self, _: str, after: Position) -> Sequence[UserEvent]:
        if self.is_away:
            raise UpstreamUnavailable
        return [entry for entry in self.entries if entry.position > after]

    @asynccontextmanager
    async def watch(self, _: str) -> AsyncIterator[Flaky]:
        yield self

    async def wait(self, _: object) -> None:
        await self.changed.wait()
        self.changed.clear()

    async def get(self, *_: object) -> Any:
        raise AssertionError("no document is asked for")

    async def send(self, *_: object, **__: object) -> Any:
        raise AssertionError("chat is not asked")

    def add(self, kind: UserEventKind) -> None:
        self.entries.append(UserEvent(Position(1, len(self.entries) + 1), kind, uuid.uuid4(), ""))
        self.changed.set()


async def test_while_redis_is_away_the_stream_says_so_once_and_goes_on() -> None:
    flaky = Flaky()
    caller = Caller(TenantId(1), "user", uuid.uuid4(), role="member")
    events = EventService(flaky, flaky).follow(caller, Turns(flaky, {}, None), None)  # type: ignore[arg-type]
    async with asyncio.timeout(30), events:
        assert b"event: hello\nid: 1-0\n" in await events.next()
        flaky.is_away = True
        flaky.add("document_deleted")
        assert await events.next() == b'event: away\nid: 1-0\ndata: {"type":"away"}\n\n'
        flaky.is_away = False
        told = b""
        while b"document_deleted" not in told:
            told += await events.next()
    assert told.startswith(b"event: back\nid: 1-0\n") and b"event: document_deleted\nid: 1-1\n" in told


async def test_a_turn_that_cannot_be_followed_ends_the_stream_and_says_so() -> None:
    flaky = Flaky()
    caller = Caller(TenantId(1), "user", uuid.uuid4(), role="member")
    events = EventService(flaky, flaky).follow(caller, Turns(flaky, {}, None), None)  # type: ignore[arg-type]
    async with asyncio.timeout(30), events:
        assert b"event: hello\n" in await events.next()
        flaky.add("turn")
        with pytest.raises(UpstreamUnavailable):
            await events.next()


def document_of(status: DocumentStatus) -> Document:
    document_id, now = DocumentId(uuid.uuid4()), datetime.now(UTC)
    return Document(
        id=document_id,
        tenant_id=TenantId(1),
        collection_id=CollectionId(uuid.uuid4()),
        title="t",
        filename="f.pdf",
        media_type="application/pdf",
        size_bytes=1,
        sha256="",
        blob_key="",
        status=status,
        pages=None,
        pages_done=0,
        chunks=0,
        generation=1,
        attempts=1,
        queue_position=None,
        eta_seconds=None,
        error_code=None,
        error_detail=None,
        retryable=None,
        waiting_until=None,
        pages_unread=0,
        warnings=(),
        info={},
        embedding_outdated=False,
        uploaded_by=uuid.uuid4(),
        created_at=now,
        updated_at=now,
        ready_at=None,
    )


async def test_a_document_whose_worker_died_before_it_said_so_is_told_as_it_is() -> None:
    shelf, flaky = Shelf(document_of(DocumentStatus.PROCESSING)), Flaky()
    caller = Caller(TenantId(1), "user", uuid.uuid4(), role="member")
    service = EventService(flaky, shelf, look_every=timedelta())
    events = service.follow(caller, Turns(flaky, {}, timedelta(seconds=1)), None)
    async with asyncio.timeout(30), events:
        assert b"event: hello\n" in await events.next()
        flaky.add("document")
        assert b'"status":"processing"' in await events.next()
        shelf.document = replace(shelf.document, status=DocumentStatus.READY)
        flaky.changed.set()  # the time of a poll is over
        told = await events.next()
    assert told.startswith(b"event: document\nid: 1-1\n") and b'"status":"ready"' in told


@dataclass
class Shelf:
    """A document that is there."""

    document: Document

    async def get(self, *_: object) -> Document:
        return self.document


async def test_who_may_read_no_documents_hears_of_none() -> None:
    flaky = Flaky()
    caller = Caller(TenantId(1), "visitor", uuid.uuid4(), role="visitor")
    events = EventService(flaky, flaky).follow(caller, Turns(flaky, {}, None), None)  # type: ignore[arg-type]
    async with asyncio.timeout(30), events:
        assert b"event: hello\n" in await events.next()
        flaky.add("document_deleted")
        flaky.add("turn")
        with pytest.raises(UpstreamUnavailable):  # of the turn, which is behind the document
            await events.next()


def test_a_cursor_is_read_as_it_is_written_and_nothing_else() -> None:
    cursor = Cursor(Position(1_763_800_000_000, 7), {uuid.uuid4(): 0, uuid.uuid4(): 12})
    assert Cursor.parse(str(cursor)) == cursor
    for junk in (
        str(Cursor(cursor.position, {uuid.uuid4(): 0 for _ in range(17)})),  # one request would ask chat so often
        "",
        "1",
        "1-",
        "-1",
        "1-2.",
        "1-2.x:1",
        f"1-2.{uuid.uuid4().hex}:",
        f"1-2.{uuid.uuid4().hex}:٣",
        "1-" + "9" * 20,
    ):
        with pytest.raises(ValueError, match=r"is no|badly formed|hexadecimal|too many"):
            Cursor.parse(junk)
    assert [after(count) for count in (0, 1, 2, 3, 9)] == [(0, 0), (0, 1), (0, 2), (1, 0), (7, 0)]
