"""One user's documents and turns as one stream of server-sent events, which goes on where it was left.

Two sources meet here: what happened, from Redis (`docuchat_common.user_events`), and the answers being written, from
chat. Each has a place of its own, and the `id` of every event names them all (`Cursor`).
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple, Self
from uuid import UUID

import orjson
import structlog

from docuchat_common.background import cancel
from docuchat_common.contracts.frames import LAST_FRAMES
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.ids import DocumentId
from docuchat_common.user_events import EventsLost, UserEvent
from docuchat_gateway.documents.schemas import DocumentView
from docuchat_gateway.events.cursor import Cursor
from docuchat_gateway.events.ports import Documents, UserEvents, Wakeup
from docuchat_gateway.events.turns import Turns
from docuchat_knowledge.documents.domain import DocumentStatus
from docuchat_knowledge.documents.errors import DocumentNotFound

logger = structlog.get_logger()

TURNS_AT_ONCE: Final = 8
"""Turns of one stream that are followed at once; the others wait for one to end."""
_WAITING: Final = 64
_SENT_AT_ONCE: Final = 16 * 2**10
_POLL: Final = timedelta(seconds=5)
_PAUSE: Final = 1.0
_REMEMBERED: Final = 500
_MOST_UNFINISHED: Final = 100
_LOOK_EVERY: Final = timedelta(seconds=30)
_UNFINISHED: Final = (DocumentStatus.QUEUED, DocumentStatus.PROCESSING)
_NOTHING: Final = b""


@dataclass(frozen=True, slots=True, eq=False)
class _Turn:
    """A turn that is followed."""

    id: UUID
    task: "asyncio.Task[None]"


class _News(NamedTuple):
    """Something to send; what it changes of the cursor comes first."""

    event: bytes
    """Its name; empty when there is nothing to send."""
    data: bytes = b""
    entry: UserEvent | None = None
    turn: "_Turn | None" = None
    cursor: Cursor | None = None


@dataclass(frozen=True, slots=True)
class EventService:
    """Opens streams."""

    user_events: UserEvents
    documents: Documents
    look_every: timedelta = _LOOK_EVERY
    """How often a document that was told unfinished is looked up: who finished it may have died before saying so."""

    def follow(self, caller: Caller, turns: Turns, cursor: str | None) -> "Following":
        """A stream that goes on behind `cursor`; one from now on without."""
        return Following(self.user_events, self.documents, caller, turns, cursor, self.look_every)


class Following:
    """One open stream."""

    def __init__(
        self,
        user_events: UserEvents,
        documents: Documents,
        caller: Caller,
        turns: Turns,
        cursor: str | None,
        look_every: timedelta,
    ) -> None:
        self._user_events = user_events
        self._documents = documents
        self._caller = caller
        self._turns = turns
        self._begin = cursor
        self._cursor: Cursor | None = None
        self._news: asyncio.Queue[_News | DocuChatError] = asyncio.Queue(_WAITING)
        self._followed: dict[UUID, asyncio.Task[None]] = {}
        self._known: deque[UUID] = deque(maxlen=_REMEMBERED)
        """Turns that were begun here: an entry may be written twice."""
        self._unfinished: dict[UUID, bytes] = {}
        """Documents that are not read yet, as they were told."""
        self._look_every = look_every.total_seconds()
        self._looked_at = asyncio.get_running_loop().time()
        self._reader: asyncio.Task[None] | None = None
        self._is_away = False

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._read_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._followed.values(), *([self._reader] if self._reader is not None else [])]
        await asyncio.gather(*map(cancel, tasks))

    async def next(self) -> bytes:
        """The next events, as they are sent. Raises what chat refuses the caller."""
        sent = _NOTHING
        while not sent:
            sent = self._take(await self._news.get())
        while not self._news.empty() and len(sent) < _SENT_AT_ONCE:
            sent += self._take(self._news.get_nowait())
        return sent

    def _take(self, news: _News | DocuChatError) -> bytes:
        """Move the cursor behind something, and present it."""
        if isinstance(news, DocuChatError):
            raise news
        if news.cursor is not None:
            for task in self._followed.values():
                task.cancel()
            self._followed.clear()
            self._cursor = news.cursor
        elif news.entry is not None and self._cursor is not None:
            self._cursor.position = news.entry.position
            if news.entry.kind == "turn" and news.entry.object_id not in self._known:
                self._cursor.turns.setdefault(news.entry.object_id, 0)
        elif news.turn is not None and self._cursor is not None:
            if self._followed.get(news.turn.id) is not news.turn.task:
                return _NOTHING  # of before a gap: it is told again from its beginning
            if news.event in LAST_FRAMES:
                del self._cursor.turns[news.turn.id], self._followed[news.turn.id]
            else:
                self._cursor.turns[news.turn.id] += 1
        self._follow_turns()
        if not news.event:
            return _NOTHING
        place = b"" if self._cursor is None else b"id: %b\n" % str(self._cursor).encode()
        return b"event: %b\n%bdata: %b\n\n" % (news.event, place, news.data)

    def _follow_turns(self) -> None:
        """Follow the turns that the cursor names, as many as may be at once."""
        if self._cursor is None:
            return
        for turn_id, count in self._cursor.turns.items():
            if len(self._followed) >= TURNS_AT_ONCE:
                return
            if turn_id not in self._followed:
                self._known.append(turn_id)
                self._followed[turn_id] = asyncio.create_task(self._follow(turn_id, count))

    async def _follow(self, turn_id: UUID, count: int) -> None:
        task = asyncio.current_task()
        assert task is not None  # it runs as one
        turn = _Turn(turn_id, task)
        async with self._telling_failures():
            async for name, data in self._turns.follow(turn_id, count):
                await self._news.put(_News(name, data, turn=turn))

    async def _read_on(self) -> None:
        async with self._telling_failures():
            await self._read()

    @asynccontextmanager
    async def _telling_failures(self) -> AsyncIterator[None]:
        """Whoever reads the stream would wait for ever for a task that has failed."""
        try:
            yield
        except DocuChatError as refused:
            await self._news.put(refused)
        except Exception:
            logger.exception("user_events.failed")
            await self._news.put(UpstreamUnavailable(retry_after=timedelta(seconds=2)))

    async def _read(self) -> None:
        """Bring what happens, for ever; while Redis is away, say so once."""
        async with AsyncExitStack() as stack:
            wakeup = await stack.enter_async_context(self._user_events.watch(self._caller.holder))
            cursor: Cursor | None = None
            while True:
                try:
                    cursor = await self._go_on(cursor, wakeup)
                except UpstreamUnavailable:
                    await self._note(is_away=True)
                    await asyncio.sleep(_PAUSE)

    async def _go_on(self, cursor: Cursor | None, wakeup: Wakeup) -> Cursor:
        """Bring what there is behind `cursor`, and wait for more; the next call goes on behind what it returns."""
        if cursor is None:
            return await self._start()
        try:
            entries = await self._user_events.read(self._caller.holder, cursor.position)
            if any(entry.kind == "lost" for entry in entries):
                raise EventsLost
        except EventsLost:
            return await self._start_anew()
        found = await self._news_of(entries)
        await self._note(is_away=False)
        for news in found:
            await self._news.put(news)
        if not entries:
            await self._look_again()
            await wakeup.wait(_POLL)
            return cursor
        return Cursor(entries[-1].position)

    async def _look_again(self) -> None:
        """Tell what became of documents without anybody's word."""
        now = asyncio.get_running_loop().time()
        if now < self._looked_at + self._look_every:
            return
        self._looked_at = now
        for document_id, told in list(self._unfinished.items()):
            name, data = await self._told_of_document(document_id)
            if data != told:
                await self._news.put(_News(name, data))

    async def _start(self) -> Cursor:
        if self._begin is None:
            return await self._begin_at_now("hello")
        try:
            cursor = Cursor.parse(self._begin)
            await self._user_events.read(self._caller.holder, cursor.position)
        except (ValueError, EventsLost):
            return await self._start_anew()
        await self._news.put(_News(b"hello", _data("hello"), cursor=cursor))
        return Cursor(cursor.position)

    async def _start_anew(self) -> Cursor:
        """After a gap: the page must load what it shows again."""
        return await self._begin_at_now("reset")

    async def _begin_at_now(self, name: str) -> Cursor:
        position, before = await self._user_events.open(self._caller.holder)
        running = {entry.object_id: 0 for entry in before if entry.kind == "turn" and self._may_read(entry)}
        for entry in before:
            if entry.kind == "turn_ended":
                running.pop(entry.object_id, None)
        await self._news.put(_News(name.encode(), _data(name), cursor=Cursor(position, running)))
        return Cursor(position)

    async def _news_of(self, entries: Sequence[UserEvent]) -> Iterable[_News]:
        """What to send of entries; of several about one document or chat only the last tells anything."""
        last = {(entry.kind, entry.object_id): entry for entry in entries}
        news = []
        for entry in entries:
            name, data = b"", b""
            if last[entry.kind, entry.object_id] is entry and self._may_read(entry):
                name, data = await self._told(entry)
            is_hidden = entry.kind == "turn" and not self._may_read(entry)
            news.append(_News(name, data, entry=_without_turn(entry) if is_hidden else entry))
        return news

    async def _told(self, entry: UserEvent) -> tuple[bytes, bytes]:
        match entry.kind:
            case "document" | "document_deleted" if not self._caller.can("documents.read"):
                return _NOTHING, b""
            case "document":
                return await self._told_of_document(entry.object_id)
            case "document_deleted":
                self._unfinished.pop(entry.object_id, None)
                return b"document_deleted", _data("document_deleted", id=str(entry.object_id))
            case "chat":
                chat = await self._turns.chat(entry.object_id)
                return (_NOTHING, b"") if chat is None else (b"chat", orjson.dumps(chat))
            case _:
                return _NOTHING, b""

    async def _told_of_document(self, document_id: UUID) -> tuple[bytes, bytes]:
        self._unfinished.pop(document_id, None)
        try:
            document = await self._documents.get(self._caller, DocumentId(document_id))
        except DocumentNotFound:  # deleted since, or not the caller's to see any more
            return b"document_deleted", _data("document_deleted", id=str(document_id))
        data = orjson.dumps(DocumentView.of(document).model_dump(mode="json"))
        if document.status in _UNFINISHED and len(self._unfinished) < _MOST_UNFINISHED:
            self._unfinished[document_id] = data
        return b"document", data

    def _may_read(self, entry: UserEvent) -> bool:
        return entry.subject in ("", self._caller.subject)

    async def _note(self, *, is_away: bool) -> None:
        """Say once that nothing can be told, and once that it can again."""
        if is_away != self._is_away:
            self._is_away = is_away
            name = "away" if is_away else "back"
            await self._news.put(_News(name.encode(), _data(name)))


def _without_turn(entry: UserEvent) -> UserEvent:
    return UserEvent(entry.position, "opened", entry.object_id, entry.subject)


def _data(kind: str, **fields: Any) -> bytes:
    return orjson.dumps({"type": kind, **fields})
