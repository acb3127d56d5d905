"""Use cases: a new version of a price, and lists of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from docuchat_common.audit import entry
from docuchat_common.idempotency import Settle, without_key
from docuchat_usage.prices.domain import Price

if TYPE_CHECKING:
    from datetime import datetime

    from docuchat_common.db import UnitOfWork
    from docuchat_common.http.caller import Caller
    from docuchat_usage.transaction import Tx

logger = structlog.get_logger()


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

    async def list_prices(self, *, in_force_at: datetime | None) -> list[Price]:
        """The prices in force at a moment; without one every version, the latest of a model first."""
        async with self._uow.system() as tx:
            return await tx.prices.list_prices(in_force_at)
