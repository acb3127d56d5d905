"""Prices of the providers that tenants bring, and of the platform's."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from docuchat_common.contracts.prices import ModelPrice, ProviderPrices, own_provider
from docuchat_usage.prices.errors import PriceInvalid

if TYPE_CHECKING:
    from conftest import World

    from docuchat_testkit.databases import ClonedDatabase

TENANT = 7
OWN = own_provider(TENANT, "house")


@pytest.fixture
def world(world: World) -> World:
    """Of the tenant whose provider it is."""
    world.tenant = TENANT
    return world


def told(dollars: str | None, provider: str = OWN, tenant_id: int | None = TENANT) -> ProviderPrices:
    price = [] if dollars is None else [Decimal(dollars)] * 3
    prices = (ModelPrice(model="m", input=price[0], output=price[1], embedding=price[2]),) if price else ()
    return ProviderPrices(tenant_id=tenant_id, provider=provider, prices=prices)


async def cost(world: World, provider: str = OWN, model: str = "m") -> Decimal:
    booked = await world.spend(1_000_000, provider=provider, model=model)
    assert booked is not None
    return booked.cost


async def test_a_tenants_own_provider_is_metered_at_its_own_price_and_never_at_the_platforms(world: World) -> None:
    assert await cost(world) == 0
    assert await world.prices.set_provider(told("5"), world.clock.now()) == 1
    assert await cost(world) == 5
    assert await cost(world, model="unpriced") == 0
    assert await cost(world, provider=own_provider(2, "house")) == 0
    assert await cost(world, provider="house") > 0


async def test_the_same_told_again_changes_nothing_and_what_was_booked_keeps_its_price(
    world: World, database: ClonedDatabase
) -> None:
    await world.prices.set_provider(told("5"), world.clock.now())
    assert await cost(world) == 5
    world.clock.advance(timedelta(seconds=1))
    with capture_logs() as logs:  # chat tells them every few seconds
        assert await world.prices.set_provider(told("5"), world.clock.now()) == 0
    assert logs == []
    assert await world.prices.set_provider(told("7"), world.clock.now()) == 1
    assert await cost(world) == 7
    world.clock.advance(timedelta(seconds=1))
    assert await world.prices.set_provider(told(None), world.clock.now()) == 1
    assert await cost(world) == 0
    async with database.connect() as connection:
        rows = await connection.fetch(
            "SELECT l.cost, p.input FROM usage.ledger l JOIN usage.prices p ON p.id = l.price_id ORDER BY l.id"
        )
    assert [(row["cost"], row["input"]) for row in rows] == [(5, 5), (7, 7), (0, 0)]


async def test_the_platforms_providers_keep_a_price_that_is_not_told_again(world: World) -> None:
    await world.prices.set_provider(told("5", "house", None), world.clock.now())
    world.clock.advance(timedelta(seconds=1))
    assert await world.prices.set_provider(told(None, "house", None), world.clock.now()) == 0
    assert await cost(world, provider="house") == 5
    assert await cost(world, provider="house", model="unpriced") > 0


async def test_a_hold_is_priced_by_the_tenants_own_price(world: World, database: ClonedDatabase) -> None:
    await world.prices.set_provider(told("5"), world.clock.now())
    await world.hold(1_000_000, provider=OWN, model="m")
    async with database.connect() as connection:
        held = await connection.fetchval(
            "SELECT p.owner_tenant FROM usage.holds h JOIN usage.prices p ON p.id = h.price_id"
        )
    assert held == TENANT


async def test_no_tenant_reads_anothers_prices_and_operators_see_the_platforms(
    world: World, database: ClonedDatabase
) -> None:
    await world.prices.set_provider(told("5"), world.clock.now())
    assert OWN not in {price.provider for price in await world.prices.list_prices(in_force_at=None)}
    async with database.connect("docuchat_usage") as connection:
        for tenant, seen in ((TENANT, 1), (2, 0)):
            async with connection.transaction():
                await connection.execute("SELECT set_config('app.tenant_id', $1, true)", str(tenant))
                counted = await connection.fetchval("SELECT count(*) FROM usage.prices WHERE owner_tenant IS NOT NULL")
            assert counted == seen


async def test_a_price_is_nobodys_whose_name_it_does_not_bear(world: World) -> None:
    with pytest.raises(PriceInvalid) as refused:
        await world.prices.set_provider(told("5", own_provider(2, "house")), world.clock.now())
    assert "prices_own_provider" in str(refused.value.__cause__)
