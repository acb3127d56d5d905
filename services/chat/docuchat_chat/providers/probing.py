"""Providers that are down are asked now and then whether they answer again, by one replica."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from typing import Final

import structlog

from docuchat_chat.providers.checks import Check, judge
from docuchat_chat.providers.domain import Provider, ProviderId
from docuchat_chat.providers.ports import Clients, ProvidersTx
from docuchat_chat.providers.watching import LIMITED_FOR, Health, Watch
from docuchat_common.clock import Clock
from docuchat_common.db.uow import Transactions
from docuchat_models.errors import ProviderError, ProviderRateLimited
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
        environment: Provider | None = None,
    ) -> None:
        """`environment`: the provider that is no row."""
        self._transactions = transactions
        self._clients = clients
        self._watch = watch
        self._clock = clock
        self._pause = pause
        self._environment = environment

    async def sweep(self) -> None:
        """Probe those that are down, and those that have been in trouble for a while without being asked."""
        due = ((each, health) for each, health in list(self._watch.troubled().items()) if self._is_due(health))
        for provider_id, health in islice(due, _MOST):
            if await self._watch.claim_probe(provider_id, self._pause):
                await self._probe(provider_id, health)

    def _is_due(self, health: Health) -> bool:
        if health.state == "down" or health.since is None:
            return True
        # A list of models says nothing of limits: what is limited for long must be down before it can seem well again.
        is_limited = health.last_error == ProviderRateLimited.code
        return self._clock.now() - health.since >= (LIMITED_FOR + self._pause if is_limited else 2 * self._pause)

    async def _find(self, provider_id: ProviderId) -> Provider | None:
        if self._environment is not None and provider_id == self._environment.id:
            return self._environment
        async with self._transactions.system() as tx:
            return await tx.providers.find_any(provider_id)

    async def _probe(self, provider_id: ProviderId, health: Health) -> None:
        provider = await self._find(provider_id)
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
