"""What follows the rows: prices in the usage service, and keys under the secret of today."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Final

import structlog

from docuchat_chat.providers.domain import ProviderId
from docuchat_chat.providers.ports import Prices, ProvidersTx
from docuchat_chat.providers.sealing import SealedKeys
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.ids import TenantId

logger = structlog.get_logger()

EVERY: Final = timedelta(seconds=5)
_A_ROUND: Final = 10
"""Providers whose prices are told again in a round, whatever is known of them."""


class Upkeep:
    """Mends what a change that failed half-way, or a new secret, has left behind."""

    def __init__(self, transactions: Transactions[ProvidersTx], prices: Prices, keys: SealedKeys) -> None:
        self._transactions = transactions
        self._prices = prices
        self._keys = keys
        self._doubtful: set[tuple[TenantId | None, ProviderId]] = set()
        """Whose prices may be told, and their rows not committed."""
        self._after: ProviderId | None = None

    @asynccontextmanager
    async def watch(self, owner: TenantId | None, provider_id: ProviderId) -> AsyncIterator[None]:
        """Enclose a transaction that tells prices before it commits: where it fails, they are told as the row has them.

        Should the process die between the two, the next round over all rows mends it.
        """
        try:
            yield
        except BaseException:
            self._doubtful.add((owner, provider_id))
            raise

    async def tell_prices(self) -> None:
        """Tell the prices of doubtful rows, and of some others."""
        for owner, provider_id in list(self._doubtful):
            await self._tell(owner, provider_id)
            self._doubtful.discard((owner, provider_id))
        async with self._transactions.system() as tx:
            found = await tx.providers.list_any(self._after, _A_ROUND)
        for each in found:
            await self._tell(each.tenant_id, each.id)
        self._after = found[-1].id if len(found) == _A_ROUND else None

    async def seal_anew(self) -> None:
        """Seal every key under the secret of today that is still under the one before it."""
        after, sealed, unreadable = None, 0, 0
        while True:
            async with self._transactions.system() as tx:
                found = await tx.providers.list_any(after, _A_ROUND)
            for each in found:
                key = each.sealed_key
                if key is None or self._keys.is_new(key, each.tenant_id, each.id):
                    continue
                plain = self._keys.open(key, each.tenant_id, each.id)
                if plain is None:
                    unreadable += 1
                    continue
                async with self._open(each.tenant_id) as tx:
                    again = self._keys.close(plain, each.tenant_id, each.id)
                    sealed += await tx.providers.seal_anew(each, again)
            if len(found) < _A_ROUND:
                break
            after = found[-1].id
        logger.info("provider.keys_sealed_anew", sealed=sealed, unreadable=unreadable)

    async def _tell(self, owner: TenantId | None, provider_id: ProviderId) -> None:
        """Tell the prices of a row that nobody changes meanwhile; of one that is gone nothing can be asked."""
        async with self._open(owner) as tx:
            provider = await tx.providers.find_own(owner, provider_id)
            if provider is None:
                return
            try:
                await self._prices.put(provider)
            except UpstreamUnavailable:
                self._doubtful.add((owner, provider_id))
                raise

    def _open(self, owner: TenantId | None) -> AbstractAsyncContextManager[ProvidersTx]:
        return self._transactions.system() if owner is None else self._transactions(owner)
