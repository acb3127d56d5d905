"""Providers of models: made, changed and deleted, by tenants and for all of them, and what nobody is shown."""

from __future__ import annotations

import sys
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from docuchat_chat.providers.domain import Auth, NewProvider, Provider, ProviderEdit, ProviderId, ProviderModel
from docuchat_chat.providers.errors import (
    ProviderChanged,
    ProviderKeyNeeded,
    ProviderNameReserved,
    ProviderNameTaken,
    ProviderNotFound,
    ProviderOfPlatform,
)
from docuchat_chat.providers.schemas import ProviderView
from docuchat_chat.providers.sealing import SealedKeys
from docuchat_chat.providers.service import Owner, ProviderService
from docuchat_common.egress import EgressPolicy, UrlRefused, UrlUnreachable
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.ids import TenantId, uuid7

running = sys.modules["chat_running"]
KEY = "sk-a-very-secret-key-x9Qf"
LLAMA = ProviderModel("accounts/llama", Decimal("0.2"), Decimal("0.4"), context_window=8192)


def new(name: str = "fireworks", base_url: str = "https://api.fireworks.ai/v1", **fields: Any) -> NewProvider:
    return NewProvider(
        name, base_url, **{"auth": Auth.BEARER, "query": {}, "models": (LLAMA,), "is_enabled": True} | fields
    )


class Desk:
    """Providers of two tenants and of the platform beside a world."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.heard: list[TenantId | None] = []
        self.keys = SealedKeys("the installation's secret, as long as it is")
        self.providers = ProviderService(world.transactions, self.keys, EgressPolicy(), self.heard.append)
        self.acme = Owner.tenant(replace(world.caller, role="admin"))
        self.other = Owner.tenant(replace(world.caller, tenant_id=TenantId(2), role="admin"))
        self.platform = Owner.platform(Caller(NO_TENANT, "operator", uuid7()))

    async def make(self, owner: Owner, key: str | None = KEY, **fields: Any) -> Provider:
        return await self.providers.create(owner, new(**fields), key)

    async def names(self, owner: Owner) -> list[str]:
        return [each.name for each in await self.providers.page(owner, 50, None)]


@pytest.fixture
def desk(bare_world: Any) -> Desk:
    return Desk(bare_world)


async def test_a_tenant_has_its_own_and_reads_the_platforms(desk: Desk) -> None:
    shared = await desk.make(desk.platform, name="house", base_url="http://localhost:11434/v1")
    own = await desk.make(desk.acme)
    assert own.models == (LLAMA,) and own.tenant_id == desk.acme.tenant_id and shared.tenant_id is None
    assert await desk.names(desk.acme) == ["house", "fireworks"]
    assert await desk.names(desk.other) == ["house"]
    assert await desk.names(desk.platform) == ["house"]
    assert await desk.providers.get(desk.acme, own.id) == own
    for owner in (desk.other, desk.platform):
        with pytest.raises(ProviderNotFound):
            await desk.providers.get(owner, own.id)
        with pytest.raises(ProviderNotFound):
            await desk.providers.change(owner, own.id, ProviderEdit({"is_enabled": False}))
        with pytest.raises(ProviderNotFound):
            await desk.providers.delete(owner, own.id)
    assert desk.heard == [None, desk.acme.tenant_id]


async def test_what_is_the_platforms_only_operators_change(desk: Desk) -> None:
    shared = await desk.make(desk.platform)
    with pytest.raises(ProviderOfPlatform):
        await desk.providers.change(desk.acme, shared.id, ProviderEdit({"is_enabled": False}))
    with pytest.raises(ProviderOfPlatform):
        await desk.providers.delete(desk.acme, shared.id)
    await desk.providers.delete(desk.platform, shared.id)
    assert await desk.names(desk.acme) == []


async def test_the_database_lets_no_tenant_write_what_is_the_platforms(desk: Desk) -> None:
    shared = await desk.make(desk.platform)
    async with desk.world.transactions(desk.acme.tenant_id) as tx:
        assert await tx.providers.find(desk.acme.tenant_id, shared.id) is not None
        assert not await tx.providers.remove(None, shared.id)
        assert await tx.providers.find_own(None, shared.id) is None
    async with desk.world.transactions(NO_TENANT) as tx:
        assert [each.id for each in await tx.providers.page(None, 9, None)] == [shared.id]


async def test_names_are_nobody_elses(desk: Desk) -> None:
    await desk.make(desk.platform, name="house")
    await desk.make(desk.acme)
    await desk.make(desk.other)
    for name in ("house", "fireworks"):
        with pytest.raises(ProviderNameTaken):
            await desk.make(desk.acme, name=name)
    with pytest.raises(ProviderNameReserved):
        await desk.make(desk.acme, name="wordllama")
    assert (await desk.make(desk.platform)).book_name == "fireworks"
    (own,) = [
        each for each in await desk.providers.page(desk.acme, 9, None) if each.tenant_id and each.name == "fireworks"
    ]
    assert own.book_name == "own/fireworks"


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("http://api.example.com/v1", UrlRefused),
        ("https://api.example.com:8443/v1", UrlRefused),
        ("https://127.0.0.1/v1", UrlUnreachable),
        ("https://[::1]/v1", UrlUnreachable),
        ("https://169.254.169.254/v1", UrlUnreachable),
        ("https://10.0.0.7/v1", UrlUnreachable),
        ("https://metadata.google.internal/v1", UrlUnreachable),
    ],
)
async def test_tenants_providers_are_in_public(desk: Desk, address: str, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        await desk.make(desk.acme, base_url=address)
    made = await desk.make(desk.acme)
    with pytest.raises(refusal):
        await desk.providers.change(desk.acme, made.id, ProviderEdit({"base_url": address}, KEY))


async def test_a_key_is_sealed_and_its_end_is_all_that_is_shown(desk: Desk) -> None:
    made = await desk.make(desk.acme)
    (row,) = await desk.world.rows("SELECT * FROM chat.providers")
    assert KEY.encode() not in row["sealed_key"] and KEY not in str(dict(row))
    assert made.sealed_key is not None
    assert desk.keys.open(made.sealed_key, made.tenant_id, made.id) == KEY
    assert desk.keys.open(made.sealed_key, TenantId(2), made.id) is None
    assert desk.keys.open(made.sealed_key, None, made.id) is None
    assert desk.keys.open(made.sealed_key, made.tenant_id, ProviderId(uuid7())) is None
    shown = ProviderView.of(made, whole=True).model_dump_json()
    assert made.key_hint == KEY[-4:] and KEY[:-4] not in shown and KEY not in repr(made)
    of_platform = ProviderView.of(made, whole=False)
    assert (of_platform.base_url, of_platform.api_key_hint) == (None, None)
    assert (await desk.make(desk.other, key="short")).key_hint == ""
    told = [event for event in await desk.world.events() if event.type == "audit.recorded.v1"]
    assert told and KEY[:-4] not in str(told)


async def test_another_address_is_not_shown_the_stored_key(desk: Desk) -> None:
    made = await desk.make(desk.acme)
    elsewhere = {"base_url": "https://evil.example/v1"}
    with pytest.raises(ProviderKeyNeeded):
        await desk.providers.change(desk.acme, made.id, ProviderEdit(elsewhere))
    moved = await desk.providers.change(desk.acme, made.id, ProviderEdit({"base_url": "https://api.fireworks.ai/v2"}))
    assert moved.sealed_key == made.sealed_key
    moved = await desk.providers.change(desk.acme, made.id, ProviderEdit(elsewhere, "another-key-of-mine"))
    assert moved.base_url == elsewhere["base_url"] and moved.key_hint == "mine"


async def test_two_editors_do_not_overwrite_each_other(desk: Desk) -> None:
    made = await desk.make(desk.acme)
    changed = await desk.providers.change(desk.acme, made.id, ProviderEdit({"models": ()}, revision=made.revision))
    assert (changed.revision, changed.models) == (made.revision + 1, ())
    with pytest.raises(ProviderChanged) as late:
        await desk.providers.change(desk.acme, made.id, ProviderEdit({"is_enabled": False}, revision=made.revision))
    assert late.value.extensions == {"revision": changed.revision}
