"""Upkeep: the ledger compared with the turns, and what is past its life."""

from __future__ import annotations

import structlog

from docuchat_chat.answers.ports import Transactions
from docuchat_chat.metrics import ANNOUNCED_AGAIN
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import TurnsTx
from docuchat_chat.turns.settling import announce_usage
from docuchat_common.ids import TenantId, TurnId
from docuchat_common.metering import Ledger, Metering, event_id_of

logger = structlog.get_logger()

BATCH = 500


class Upkeep:
    """Sweeps over settled turns."""

    def __init__(self, transactions: Transactions[TurnsTx], metering: Metering, ledger: Ledger, policy: Policy) -> None:
        self._transactions = transactions
        self._metering = metering
        self._ledger = ledger
        self._policy = policy

    async def compare_books(self) -> int:
        """Announce again, under the same ids, what the ledger does not have; returns how many turns and calls."""
        calls = await self._metering.compare_books(self._ledger, self._policy.booking_patience)
        return calls + await self._compare_turns()

    async def _compare_turns(self) -> int:
        async with self._transactions.system() as tx:
            waiting = await tx.turns.unbooked(self._policy.booking_patience, BATCH)
        if not waiting:
            return 0
        known = await self._ledger.known([event_id_of(turn_id) for _, turn_id in waiting])
        booked = [turn_id for _, turn_id in waiting if event_id_of(turn_id) in known]
        if booked:
            async with self._transactions.system() as tx:
                await tx.turns.confirm_booked(booked)
        lost = [(tenant_id, turn_id) for tenant_id, turn_id in waiting if event_id_of(turn_id) not in known]
        return sum([await self._announce(tenant_id, turn_id) for tenant_id, turn_id in lost])

    async def purge(self) -> None:
        """Delete deleted chats, and turns and chats past their life."""
        policy = self._policy
        while True:
            async with self._transactions.system() as tx:
                await tx.requests.forget(min(policy.key_life, policy.turn_life))  # a key is answered from its turn
                gone = await tx.turns.purge(turns_after=policy.turn_life, chats_after=policy.chat_life, limit=BATCH)
            if not gone:
                return

    async def _announce(self, tenant_id: TenantId, turn_id: TurnId) -> bool:
        async with self._transactions(tenant_id) as tx:
            turn = await tx.turns.find(tenant_id, turn_id, None)
            if turn is None or turn.usage is None or await tx.turns.is_announced(event_id_of(turn_id)):
                return False
            announce_usage(tx, turn, turn.usage)
        ANNOUNCED_AGAIN.inc()
        logger.warning("turn.announced_again", turn_id=str(turn_id))
        return True
