"""Stand-ins for the foreign systems: the model provider and the usage service's holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np

from docuchat_chat.answers.domain import Hold
from docuchat_chat.answers.ports import AnswerRequest, Priced, QuestionVector
from docuchat_chat.answers.terms import NO_TERMS, Terms
from docuchat_common.contracts.chatbots import IssuedCredentials, KeyView
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.ids import HoldId, TenantId, uuid7
from docuchat_models.chat import Piece, TokenUsage


@dataclass(eq=False)
class ScriptedModel:
    """Yields pieces, waits at gates, raises errors: one script a call, the last one again and again."""

    scripts: list[list[Any]] = field(default_factory=lambda: [["Two years [1].", "stop"]])
    usage: TokenUsage | None = None
    requests: list[AnswerRequest] = field(default_factory=list)
    closed: int = 0
    has_own_knowledge: bool = True

    async def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        script = self.scripts[min(len(self.requests), len(self.scripts) - 1)]
        self.requests.append(request)
        try:
            for step in script:
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, Piece):
                    yield step
                elif step in ("stop", "length"):
                    yield Piece(finish_reason=step, usage=self.usage)
                elif step == "accept":
                    yield Piece()
                else:
                    if step is script[0]:
                        yield Piece()
                    yield Piece(step)
        finally:
            self.closed += 1


@dataclass
class FakeEmbedder:
    """Embeds for five tokens a question."""

    billable: bool = True
    failure: Exception | None = None
    gate: asyncio.Event | None = None
    tokens: int = 5
    provider: str = "openai"
    model: str = "text-embedding-3-small"
    asked: int = 0

    def count(self, text: str) -> int:
        return 5

    async def embed(self, question: str) -> QuestionVector:
        self.asked += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return QuestionVector(np.full(1536, 1536**-0.5, np.float32), self.tokens, estimated=False)


@dataclass
class FakeLedger:
    """Books that have what they are told."""

    booked: set[UUID] = field(default_factory=set)

    async def known(self, event_ids: Sequence[UUID]) -> set[UUID]:
        return self.booked & set(event_ids)


@dataclass
class FakeHolds:
    """Holds against one limit; `refusal` is raised when it is used up."""

    refusal: Exception | None = None
    open_holds: dict[HoldId, int] = field(default_factory=dict)
    opened: list[int] = field(default_factory=list)
    terms: list[Terms] = field(default_factory=list)
    released: list[HoldId] = field(default_factory=list)
    settled: list[HoldId] = field(default_factory=list)
    gate: asyncio.Event | None = None
    asked: int = 0
    priced: list[tuple[str, str]] = field(default_factory=list)

    async def open(
        self, caller: Caller, priced: Priced, input_tokens: int, output_tokens: int, terms: Terms = NO_TERMS
    ) -> Hold:
        self.asked += 1
        self.terms.append(terms)
        self.priced.append((priced.provider, priced.model))
        if self.gate is not None:
            await self.gate.wait()
        if self.refusal is not None:
            raise self.refusal
        hold = Hold(HoldId(uuid7()), input_tokens)
        self.open_holds[hold.id] = input_tokens + output_tokens
        self.opened.append(input_tokens + output_tokens)
        return hold

    async def renew(self, hold_id: HoldId, tokens: int | None = None) -> None:
        if tokens is not None and hold_id in self.open_holds:
            self.open_holds[hold_id] = min(self.open_holds[hold_id], tokens)

    async def release(self, hold_id: HoldId) -> None:
        self.open_holds.pop(hold_id, None)
        self.released.append(hold_id)

    async def settle(self, hold_id: HoldId) -> None:
        self.open_holds.pop(hold_id, None)
        self.settled.append(hold_id)


@dataclass
class FakeCredentials:
    """Keys of chatbots; away, it makes what it was asked for and answers nobody."""

    origins: dict[UUID, tuple[str, ...]] = field(default_factory=dict)
    secrets: dict[UUID, int] = field(default_factory=dict)
    away: bool = False
    gate: asyncio.Event | None = None
    waiting: bool = False
    asked_by: list[Caller] = field(default_factory=list)

    async def put(self, tenant_id: TenantId, chatbot_id: UUID, origins: Sequence[str], by: Caller) -> IssuedCredentials:
        await self._told()
        self.asked_by.append(by)
        self.origins[chatbot_id] = tuple(origins)
        secret = None if chatbot_id in self.secrets else self._secret(chatbot_id)
        return self._answered(chatbot_id, secret)

    async def rotate(self, tenant_id: TenantId, chatbot_id: UUID, overlap: timedelta, by: Caller) -> IssuedCredentials:
        return self._answered(chatbot_id, self._secret(chatbot_id))

    async def end(self, tenant_id: TenantId, chatbot_id: UUID) -> None:
        if self.away:
            raise UpstreamUnavailable
        self.origins.pop(chatbot_id, None)
        self.secrets.pop(chatbot_id, None)

    async def _told(self) -> None:
        if self.gate is not None:
            self.waiting = True
            await self.gate.wait()

    def _secret(self, chatbot_id: UUID) -> str:
        self.secrets[chatbot_id] = self.secrets.get(chatbot_id, 0) + 1
        return f"dck_{chatbot_id.hex}_{self.secrets[chatbot_id]}"

    def _answered(self, chatbot_id: UUID, secret: str | None) -> IssuedCredentials:
        if self.away:
            raise UpstreamUnavailable
        return IssuedCredentials(secret_key=secret, key=KeyView(id=chatbot_id, secrets=()))


class LossyTransactions:
    """Units of work; the answer to one tenant's COMMIT, `lose_next` from now, is lost: it took place, unheard.

    While the database is `away`, none begins.
    """

    def __init__(self, transactions: Any) -> None:
        self._transactions = transactions
        self.system = transactions.system
        self.lose_next = 0
        self.lost = 0
        self.away = False

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Any]:
        return self._lossy(lambda: self._transactions(tenant_id))

    def as_caller(self, caller: Caller) -> AbstractAsyncContextManager[Any]:
        return self._lossy(lambda: self._transactions.as_caller(caller))

    @asynccontextmanager
    async def _lossy(self, begin: Callable[[], AbstractAsyncContextManager[Any]]) -> AsyncIterator[Any]:
        if self.away:
            raise UpstreamUnavailable("The database is away.", retry_after=timedelta(seconds=2))
        async with begin() as tx:
            yield tx
        self.lose_next -= 1
        if self.lose_next == 0:
            self.lost += 1
            raise UpstreamUnavailable("The answer was lost.", retry_after=timedelta(seconds=2))
