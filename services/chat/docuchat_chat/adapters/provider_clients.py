"""Clients of providers: one for each revision, kept while it is used, and closed when nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from docuchat_chat.providers.domain import MOST_PROVIDERS, Provider, ProviderId
from docuchat_chat.providers.ports import OpenedProvider
from docuchat_common.ids import TenantId
from docuchat_models.errors import ProviderRateLimited

MOST: Final = 200
"""Clients at once, of all tenants."""
OF_ONE: Final = 2 * MOST_PROVIDERS
"""Clients of one tenant's at once: each of its own, as it is and as it was before a change."""
IDLE: Final = timedelta(minutes=5)

OpenProvider = Callable[[Provider], AbstractAsyncContextManager[OpenedProvider]]


@dataclass(slots=True)
class _Client:
    tenant_id: TenantId | None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    opened: OpenedProvider | None = None
    users: int = 0
    used_at: float = 0.0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class ProviderClients:
    """A bounded number of clients."""

    def __init__(
        self,
        open_provider: OpenProvider,
        *,
        most: int = MOST,
        idle: timedelta = IDLE,
        kept: Mapping[ProviderId, OpenedProvider] | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`elapsed` are seconds that only grow; `kept` are clients that are always open."""
        self._open = open_provider
        self._most = most
        self._idle = idle.total_seconds()
        self._elapsed = elapsed
        self._kept = kept or {}
        self._clients: dict[tuple[ProviderId, int], _Client] = {}

    @asynccontextmanager
    async def use(self, provider: Provider) -> AsyncIterator[OpenedProvider]:
        """Use the client of a provider as it is in its revision. Raises ProviderRefused, ProviderRateLimited."""
        if (kept := self._kept.get(provider.id)) is not None:
            yield kept
            return
        key = provider.id, provider.revision
        client = self._clients.get(key)
        if client is None:
            await self._make_room(provider.tenant_id)
            client = self._clients.setdefault(key, _Client(provider.tenant_id))
        client.users += 1
        try:
            async with client.lock:
                if client.opened is None:
                    client.opened = await client.stack.enter_async_context(self._open(provider))
            yield client.opened
        finally:
            client.users -= 1
            client.used_at = self._elapsed()
            if client.opened is None and not client.users:
                self._clients.pop(key, None)

    async def sweep(self) -> None:
        """Close what was not used for long, and earlier revisions of what was changed."""
        newest: dict[ProviderId, int] = {}
        for provider_id, revision in self._clients:
            newest[provider_id] = max(revision, newest.get(provider_id, 0))
        for key, client in list(self._clients.items()):
            is_old = newest[key[0]] > key[1] or self._elapsed() - client.used_at >= self._idle
            if is_old and not client.users:
                await self._close(key)

    async def close(self) -> None:
        """Close all."""
        for key in list(self._clients):
            await self._close(key)

    async def _make_room(self, tenant_id: TenantId | None) -> None:
        """Close what is unused; those of the platform's, for everybody, need no room among the tenants'."""
        while tenant_id is not None:
            tenants = {key: client for key, client in self._clients.items() if client.tenant_id is not None}
            own = {key: client for key, client in tenants.items() if client.tenant_id == tenant_id}
            crowd = own if len(own) >= OF_ONE else tenants
            if crowd is tenants and len(tenants) < self._most:
                return
            unused = [key for key, client in crowd.items() if not client.users]
            if not unused:
                raise ProviderRateLimited("Too many providers are asked at once; try again shortly.")
            await self._close(min(unused, key=lambda key: self._clients[key].used_at))

    async def _close(self, key: tuple[ProviderId, int]) -> None:
        client = self._clients.pop(key, None)
        if client is not None:
            await client.stack.aclose()
