"""Providers of one tenant that answer too much, too slowly or not at all: their own people wait, and nobody else."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from docuchat_auth.adapters.openid import OpenIdClient, joined
from docuchat_auth.adapters.provider_memory import ProviderMemory
from docuchat_auth.federated_logins.errors import IdentityProviderUnavailable
from docuchat_auth.federated_logins.id_tokens import signing_keys
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_common.egress import open_egress
from docuchat_common.ids import TenantId

from .conftest import SECRET, ManualClock
from .provider import KEYS, SigningProvider, serving_provider
from .test_openid import HERE, known_as

DISCOVERY = "/.well-known/openid-configuration"
OURS, THEIRS = TenantId(1), TenantId(2)


@pytest.fixture
async def provider(clock: ManualClock) -> AsyncIterator[SigningProvider]:
    async with serving_provider(clock) as provider:
        yield provider


@pytest.fixture
async def client(clock: ManualClock) -> AsyncIterator[OpenIdClient]:
    async with open_egress(HERE) as egress:
        yield OpenIdClient(egress, HERE, SealedSecrets(SECRET), clock)


def answering(body: bytes) -> Callable[[], web.StreamResponse]:
    return lambda: web.Response(body=body, content_type="application/json")


async def test_a_discovery_is_a_short_document(provider: SigningProvider, client: OpenIdClient) -> None:
    provider.odd[DISCOVERY] = answering(b'{"a":[' + b",".join([b"{}"] * 100_000) + b"]}")
    with pytest.raises(IdentityProviderUnavailable):
        await client.discover(known_as(provider))
    provider.odd.clear()
    provider.metadata = {"token_endpoint": f"{provider.issuer}/{'a' * 2000}"}
    with pytest.raises(IdentityProviderUnavailable):
        await client.discover(known_as(provider, tenant_id=THEIRS))


def test_of_keys_there_are_few_and_of_each_what_verifies() -> None:
    key = KEYS[0].as_dict(private=False)
    many = [{**key, "kid": str(number)} for number in range(60)]
    assert len(signing_keys({"keys": many}).keys) == 50
    odd = [{**key, "kid": "k" * 2000}, {**key, "n": "A" * 2000}, {**key, "x5c": ["c" * 2000]}, KEYS[0].as_dict()]
    keys = signing_keys({"keys": odd}).keys
    assert [set(one.as_dict()) & {"x5c", "d"} for one in keys] == [set(), set()]


async def test_a_tenant_has_few_places_and_takes_nobody_elses(clock: ManualClock) -> None:
    memory, asked = ProviderMemory(clock), []

    async def ask(tenant_id: TenantId, name: str) -> None:
        async def told() -> str:
            asked.append((tenant_id, name))
            return name

        assert await memory.get(tenant_id, name, told) == name

    await ask(OURS, "ours")
    for number in range(50):
        await ask(THEIRS, str(number))
    await ask(OURS, "ours")
    assert asked.count((OURS, "ours")) == 1 and len(memory._kept) == 13
    for number in range(3, 600):
        await ask(TenantId(number), "one")
    assert len(memory._kept) == 600
    clock.advance(minutes=11)
    await ask(OURS, "ours")
    assert asked.count((OURS, "ours")) == 2 and len(memory._kept) == 1, "what is over is gone"


async def test_equal_questions_are_asked_once_and_a_failure_is_not_tried_at_once_again(
    provider: SigningProvider, client: OpenIdClient, clock: ManualClock
) -> None:
    ours = known_as(provider)
    await asyncio.gather(*(client.discover(ours) for _ in range(20)))
    assert len(provider.asked) == 1
    provider.odd[DISCOVERY] = lambda: web.Response(status=500)
    theirs = known_as(provider, tenant_id=THEIRS)
    told = await asyncio.gather(*(client.discover(theirs) for _ in range(20)), return_exceptions=True)
    assert {type(one) for one in told} == {IdentityProviderUnavailable} and len(provider.asked) == 2
    provider.odd.clear()
    with pytest.raises(IdentityProviderUnavailable):
        await client.discover(theirs)
    clock.advance(seconds=6)
    assert await client.discover(theirs) and len(provider.asked) == 3


@pytest.mark.parametrize(
    ("claims", "told", "wanted"),
    [
        ({"email": "boss@acme.example"}, {"email": "ann@acme.example", "email_verified": True}, None),
        ({"email_verified": True}, {"email": "boss@acme.example"}, None),
        ({"email": "a@acme.example", "email_verified": True}, {"email": "b", "email_verified": False}, True),
        ({}, {"email": "a@acme.example", "email_verified": True}, True),
    ],
)
def test_who_names_an_address_says_whether_it_is_confirmed(
    claims: dict[str, Any], told: dict[str, Any], wanted: bool | None
) -> None:
    both = joined(told, claims)
    assert both["email_verified"] is wanted
    assert both["email"] == claims.get("email", told["email"])
