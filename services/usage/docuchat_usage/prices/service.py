"""Use cases: a new version of a price, and lists of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import structlog

from docuchat_common.audit import entry
from docuchat_common.idempotency import Settle, without_key
from docuchat_usage.prices.domain import Price

if TYPE_CHECKING:
    from datetime import datetime

    from docuchat_common.contracts.prices import ProviderPrices
    from docuchat_common.db import UnitOfWork
    from docuchat_common.http.caller import Caller
    from docuchat_usage.transaction import Tx

logger = structlog.get_logger()

_NOTHING: Final = (Decimal(), Decimal(), Decimal())


class PriceService:
    """Owns what every model costs."""

    def __init__(self, uow: UnitOfWork[Tx]) -> None:
        self._uow = uow

    async def set_price(self, price: Price, settle: Settle[Price] = without_key, *, by: Caller | None = None) -> Price:
        """Add a version of a price; answers it with its id.

        Raises:
            PriceExists: the same model has a price from the same moment.
            PriceInvalid: an amount is negative or too large.
        """
        async with self._uow.system() as tx:
            added = replace(price, id=await tx.prices.add(price))
            tx.outbox.add(entry(by, "price.set", added.id))
            await settle(tx, added)
        logger.info("price.added", price_id=added.id, provider=price.provider, model=price.model)
        return added

    async def set_provider(self, told: ProviderPrices, now: datetime) -> int:
        """Let the models of a provider cost what is told, from now on; answers how many versions that made.

        A tenant's model that has no price any more costs nothing; the platform's keeps the one that it had.
        """
        wanted = {price.model: (price.input, price.output, price.embedding) for price in told.prices}
        async with self._uow.system() as tx:
            known = await tx.prices.list_of_provider(told.provider, now)
            if told.tenant_id is not None:
                wanted = {price.model: _NOTHING for price in known} | wanted
            before = {price.model: (price.input, price.output, price.embedding) for price in known}
            changed = {model: amounts for model, amounts in wanted.items() if before.get(model) != amounts}
            for model, amounts in changed.items():
                await tx.prices.add(Price(0, told.provider, model, *amounts, now, told.tenant_id))
        if changed:  # chat tells them again every few seconds
            logger.info("prices.told", provider=told.provider, changed=len(changed))
        return len(changed)

    async def list_prices(self, *, in_force_at: datetime | None) -> list[Price]:
        """The prices in force at a moment; without one every version, the latest of a model first."""
        async with self._uow.system() as tx:
            return await tx.prices.list_prices(in_force_at)
