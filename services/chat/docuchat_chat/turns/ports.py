"""What turns need from the world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from docuchat_chat.answers.ports import AnswersTx, EmbeddingHolds
from docuchat_chat.chatbots.domain import Chatbot, Version, Which
from docuchat_chat.conversations.ports import ConversationsTx, OpenedChat
from docuchat_chat.turns.domain import OrphanedTurn, Outcome, Question, Received, Settlement, Turn
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, HoldId, TenantId, TurnId
from docuchat_common.metering import ProviderCalls


class TurnStore(Protocol):
    """Turns."""

    async def begin(self, turn: Turn, chat: OpenedChat, question: Question | None, tokenizer: str) -> None:
        """Write a turn down, and its question unless that is there."""
        ...

    async def find(self, tenant_id: TenantId, turn_id: TurnId, caller: Caller | None) -> Turn | None:
        """Return a turn; with `caller` only the caller's own, of a chat that is not deleted."""
        ...

    async def finish(self, turn: Turn, outcome: Outcome, owner: str) -> Settlement:
        """Settle a turn that still runs and store its answer."""
        ...

    async def move_on(self, turn: Turn) -> bool:
        """Let a turn that still runs stand for the call of its second model; False when it is settled, or does."""
        ...

    async def orphans(self, owner: str, known: Collection[TurnId], limit: int) -> list[OrphanedTurn]:
        """Return running turns of processes that are gone, and those of `owner` but the `known` (system role)."""
        ...

    async def list_running(self, tenant_id: TenantId) -> list[TurnId]:
        """Return the turns of a tenant that are not settled (system role)."""
        ...

    async def is_alive(self, owner: str) -> bool:
        """Tell whether a process shows its sign of life (system role)."""
        ...

    async def count_open(self, owner: str) -> int:
        """Return how many turns of a process are not settled (system role)."""
        ...

    async def list_unbooked(self, patience: timedelta, limit: int) -> list[tuple[TenantId, UUID]]:
        """Return turns with usage that the ledger was not yet seen to have (system role)."""
        ...

    async def announce_again(self, tenant_id: TenantId, turn_id: TurnId, patience: timedelta) -> bool:
        """Note that a turn's usage is announced again; False when that was just done."""
        ...

    async def confirm_booked(self, call_ids: list[UUID]) -> None:
        """Note that the ledger has these turns (system role)."""
        ...

    async def purge_not_kept(self, *, older_than: timedelta, limit: int) -> list[tuple[TenantId, list[TurnId]]]:
        """Delete chats that are not kept and are booked (system role). Returns whose turns went with each."""
        ...

    async def purge(self, *, turns_after: timedelta, chats_after: timedelta | None, limit: int) -> int:
        """Delete what is past its life: deleted chats, old turns, old chats (system role). Returns how many rows."""
        ...


class TurnsTx(ConversationsTx, AnswersTx, Protocol):
    """What of a transaction turns use."""

    @property
    def turns(self) -> TurnStore:
        """Turns."""
        ...

    @property
    def calls(self) -> ProviderCalls:
        """Calls of providers beside those that turns stand for."""
        ...


class Holds(EmbeddingHolds, Protocol):
    """Holds for answers, which take their time."""

    async def renew(self, hold_id: HoldId, tokens: int | None = None) -> None:
        """Renew the lease, and shrink the hold when `tokens` is given; trouble is logged, not raised."""
        ...

    async def settle(self, hold_id: HoldId) -> None:
        """Count the message as sent, and give its tokens back; trouble is logged, not raised."""
        ...


class Chatbots(Protocol):
    """What answers for chatbots."""

    async def live(self, caller: Caller, chatbot_id: ChatbotId) -> tuple[Chatbot, Version]:
        """Return a chatbot and the version that answers. Raises ChatbotNotFound, ChatbotNotPublished."""
        ...

    async def version(self, caller: Caller, chatbot_id: ChatbotId, which: Which) -> tuple[Chatbot, Version]:
        """Return a chatbot and one version of it, or its draft. Raises ChatbotNotFound, ChatbotVersionNotFound."""
        ...


class TurnLog(Protocol):
    """A running turn's answer as the board reads it."""

    tenant_id: TenantId
    turn_id: TurnId
    texts: list[str]
    sent: bool
    closed: bool
    hidden: bool
    """Not to be shown any more: its chat was deleted."""


SILENT = 0
CLOSED = -1


class TurnBoard(Protocol):
    """Where running turns are visible to other processes."""

    def publish(self, log: TurnLog) -> None:
        """Note that a log has something new; it is copied out in the background."""
        ...

    def read(self, tenant_id: TenantId, turn_id: TurnId, after: int) -> AsyncIterator[tuple[int, str]]:
        """Follow a turn of another process: number and text of each delta after `after`.

        Yields SILENT now and then while nothing comes, so that the reader can look elsewhere, and CLOSED at the end.
        """
        ...

    async def received(self, tenant_id: TenantId, turn_id: TurnId) -> Received:
        """Return what a dead process had published of a turn."""
        ...

    async def close(self, tenant_id: TenantId, turn_id: TurnId) -> None:
        """Tell the followers of a dead process' turn that it is settled."""
        ...

    async def forget(self, tenant_id: TenantId, turn_ids: Sequence[TurnId]) -> None:
        """Remove what was published of these turns."""
        ...

    async def ask_to_stop(self, turn_id: TurnId) -> None:
        """Tell the process that runs a turn to stop it."""
        ...


class Spool(Protocol):
    """What this process sent and received, on disk before anybody is shown it."""

    def sent(self, turn_id: TurnId) -> None:
        """Note that the request is about to leave."""
        ...

    def refused(self, turn_id: TurnId) -> None:
        """Note that the provider took nothing of the last request."""
        ...

    def second(self, turn_id: TurnId) -> None:
        """Note that all that follows is of the second model's call."""
        ...

    def append(self, turn_id: TurnId, text: str) -> None:
        """Note what arrived."""
        ...

    def thought(self, turn_id: TurnId, text: str) -> None:
        """Note what arrived and is not shown."""
        ...

    def keep_back(self, turn_id: TurnId, text: str) -> None:
        """Note what arrived and is not shown yet."""
        ...

    def let_out(self, turn_id: TurnId) -> None:
        """Note that what was kept back is about to be shown, and noted as such."""
        ...

    def settled(self, turn_id: TurnId) -> None:
        """Forget a turn, which the database has now."""
        ...


class DeadSpools(Protocol):
    """The spools that dead processes of this machine left."""

    def is_alive(self, owner: str) -> bool:
        """Tell whether a process of this machine still writes its spool."""
        ...

    async def read(self, owner: str, turn_id: TurnId) -> Received | None:
        """Return what a dead process had noted of a turn; None when its spool is not here."""
        ...

    def owners(self) -> list[str]:
        """Return the dead processes that left spools here."""
        ...

    def delete(self, owner: str) -> None:
        """Delete the spool of a dead process, all of whose turns are settled."""
        ...
