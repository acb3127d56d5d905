"""What tenants may ask of providers, read once in a while and not by each question."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from docuchat_chat.providers.domain import Provider, ProviderModel
from docuchat_chat.providers.ports import ProvidersTx
from docuchat_common.db.uow import Transactions
from docuchat_common.ids import TenantId

LIFE: Final = timedelta(seconds=2)
"""How long another replica may not know of a change."""
_RECENT: Final = 0.25
"""Seconds for which what is not there is not looked for again."""
_MOST: Final = 1_000
"""Tenants that are remembered."""


@dataclass(slots=True)
class _Known:
    providers: Sequence[Provider] = ()
    read_at: float = float("-inf")
    changes: int = 0
    """That were heard of: what is read while one is heard of is old already."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Catalogue:
    """The enabled providers of each tenant, the platform's among them."""

    def __init__(
        self,
        transactions: Transactions[ProvidersTx],
        *,
        life: timedelta = LIFE,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`elapsed` are seconds that only grow."""
        self._transactions = transactions
        self._life = life.total_seconds()
        self._elapsed = elapsed
        self._known: OrderedDict[TenantId, _Known] = OrderedDict()

    async def list_enabled(self, tenant_id: TenantId) -> Sequence[Provider]:
        """Return what the tenant may use, its own first."""
        known = self._of(tenant_id)
        if self._elapsed() - known.read_at >= self._life:
            async with known.lock:
                if self._elapsed() - known.read_at >= self._life:  # nobody else read while we waited
                    await self._read(tenant_id, known)
        return known.providers

    async def find(self, tenant_id: TenantId, name: str) -> tuple[Provider, ProviderModel] | None:
        """Return what serves `provider/name`, the tenant's own before the platform's; None when nothing does."""
        found = _find(await self.list_enabled(tenant_id), name)
        if found is None and self._elapsed() - self._of(tenant_id).read_at >= _RECENT:
            self.forget(tenant_id)  # it may have been made on another replica a moment ago
            found = _find(await self.list_enabled(tenant_id), name)
        return found

    def forget(self, owner: TenantId | None) -> None:
        """Read anew what the owner has changed: None is the platform, which is in everybody's list."""
        for known in self._known.values() if owner is None else filter(None, [self._known.get(owner)]):
            known.read_at = float("-inf")
            known.changes += 1

    async def _read(self, tenant_id: TenantId, known: _Known) -> None:
        began, changes = self._elapsed(), known.changes
        async with self._transactions(tenant_id) as tx:
            known.providers = await tx.providers.list_enabled(tenant_id)
        if changes == known.changes:
            known.read_at = began

    def _of(self, tenant_id: TenantId) -> _Known:
        known = self._known.setdefault(tenant_id, _Known())
        self._known.move_to_end(tenant_id)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return known


def _find(providers: Sequence[Provider], name: str) -> tuple[Provider, ProviderModel] | None:
    of_provider, _, of_model = name.partition("/")
    for provider in providers:
        if provider.name == of_provider and (model := provider.find_model(of_model)) is not None and model.answers():
            return provider, model
    return None
