"""Upkeep: the ledger compared with the turns, and what is past its life."""

from __future__ import annotations

from uuid import UUID

from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import TurnBoard, TurnsTx
from docuchat_chat.turns.settling import announce_usage
from docuchat_common.db.uow import Transactions
from docuchat_common.ids import TenantId, TurnId
from docuchat_common.metering import Ledger, Metering, compare_books

BATCH = 500


class Upkeep:
    """Sweeps over settled turns."""

    def __init__(
        self,
        transactions: Transactions[TurnsTx],
        metering: Metering,
        ledger: Ledger,
        board: TurnBoard,
        policy: Policy,
    ) -> None:
        self._transactions = transactions
        self._board = board
        self._metering = metering
        self._ledger = ledger
        self._policy = policy

    async def compare_books(self) -> int:
        """Announce again, under the same ids, what the ledger does not have; returns how many turns and calls."""
        patience = self._policy.booking_patience
        calls = await self._metering.compare_books(self._ledger, patience)
        return calls + await compare_books(
            self._transactions, self._ledger, patience, of=lambda tx: tx.turns, announce=self._announce
        )

    async def purge(self) -> None:
        """Delete deleted chats, and turns and chats past their life."""
        policy = self._policy
        while True:
            async with self._transactions.system() as tx:
                await tx.requests.forget(min(policy.key_life, policy.turn_life))  # a key is answered from its turn
                gone = await tx.turns.purge(turns_after=policy.turn_life, chats_after=policy.chat_life, limit=BATCH)
            if not gone:
                return

    async def purge_not_kept(self) -> None:
        """Delete the chats that are not kept, with what is streamed of them."""
        while True:
            async with self._transactions.system() as tx:
                gone = await tx.turns.purge_not_kept(older_than=self._policy.booking_patience / 2, limit=BATCH)
            for tenant_id, turn_ids in gone:
                await self._board.forget(tenant_id, turn_ids)
            if len(gone) < BATCH:
                return

    async def _announce(self, tx: TurnsTx, tenant_id: TenantId, turn_id: UUID) -> bool:
        if not await tx.turns.announce_again(tenant_id, TurnId(turn_id), self._policy.booking_patience):
            return False
        turn = await tx.turns.find(tenant_id, TurnId(turn_id), None)
        if turn is None or turn.usage is None:
            return False
        announce_usage(tx, turn, turn.usage)
        return True
