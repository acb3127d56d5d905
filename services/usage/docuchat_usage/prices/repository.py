"""Price rows; adding one needs the system role."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import asyncpg

from docuchat_common.db import load_queries
from docuchat_usage.prices.domain import Price
from docuchat_usage.prices.errors import PriceExists, PriceInvalid

_queries: Final = load_queries(__package__)


class PriceRepository:
    """Versioned prices."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, price: Price) -> int:
        """Add a version of a price."""
        try:
            added: int = await _queries.add_price(
                self._connection,
                provider=price.provider,
                model=price.model,
                input=price.input,
                output=price.output,
                embedding=price.embedding,
                valid_from=price.valid_from,
                owner=price.owner_tenant,
            )
        except asyncpg.UniqueViolationError as error:
            raise PriceExists from error
        except (asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError) as error:
            raise PriceInvalid from error
        return added

    async def list_of_provider(self, provider: str, at: datetime) -> list[Price]:
        """What the models of a provider cost; who asks goes on alone until the transaction ends."""
        await _queries.take_turn(self._connection, provider=provider)
        return [Price(**row) async for row in _queries.list_of_provider(self._connection, provider=provider, at=at)]

    async def list_prices(self, in_force_at: datetime | None) -> list[Price]:
        """The prices in force at a moment; without one every version, the latest of a model first."""
        return [Price(**row) async for row in _queries.list_prices(self._connection, in_force_at=in_force_at)]
