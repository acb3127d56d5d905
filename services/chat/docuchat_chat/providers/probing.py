"""Providers that are down are asked now and then whether they answer again, by one replica."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Final

import structlog

from docuchat_chat.providers.checks import Check, judge
from docuchat_chat.providers.domain import Provider, ProviderId
from docuchat_chat.providers.ports import Clients, ProvidersTx
from docuchat_chat.providers.watching import Health, Watch
from docuchat_common.clock import Clock
from docuchat_common.db.uow import Transactions
from docuchat_models.errors import ProviderError
from docuchat_models.providers import Listing

logger = structlog.get_logger()

EVERY: Final = timedelta(seconds=5)
PAUSE: Final = timedelta(seconds=15)
"""Between two probes of one provider."""
_MOST: Final = 20
"""Probes of a round."""


async def check(provider: Provider, clients: Clients) -> Check:
    """Ask a provider for its models, and say how it is."""
    try:
        async with clients.use(provider) as client:
            return judge(provider, await client.list_models())
    except ProviderError:  # a key that cannot be read any more, or no room for a client
        return judge(provider, Listing(None))


class Probing:
    """Finds out which providers answer again."""

    def __init__(
        self,
        transactions: Transactions[ProvidersTx],
        clients: Clients,
        watch: Watch,
        clock: Clock,
        *,
        pause: timedelta = PAUSE,
    ) -> None:
        self._transactions = transactions
        self._clients = clients
        self._watch = watch
        self._clock = clock
        self._pause = pause

    async def sweep(self) -> None:
        """Probe those that are down, and those that have been in trouble for a while without being asked."""
        due = ((each, health) for each, health in list(self._watch.troubled().items()) if self._is_due(health))
        for provider_id, health in islice(due, _MOST):
            if await self._watch.claim_probe(provider_id, self._pause):
                await self._probe(provider_id, health)

    def _is_due(self, health: Health) -> bool:
        return health.state == "down" or health.since is None or self._clock.now() - health.since >= 2 * self._pause

    async def _probe(self, provider_id: ProviderId, health: Health) -> None:
        async with self._transactions.system() as tx:
            provider = await tx.providers.find_any(provider_id)
        if provider is None or not provider.is_enabled:
            self._watch.forget(provider_id)
            return
        outcome = await check(provider, self._clients)
        logger.info("provider.probed", provider_id=str(provider_id), outcome=outcome.code)
        if not outcome.is_alive:
            self._watch.failed(provider, outcome.code)
        elif health.state == "down":
            self._watch.recovering(provider)
        else:
            self._watch.worked(provider)
