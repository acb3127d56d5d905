"""Signing keys: published before use, retired, dropped, sealed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import pytest

from docuchat_auth.signing_keys.domain import SigningAlgorithm
from docuchat_auth.signing_keys.errors import KeySealBroken
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_common.contracts.revisions import signer_id
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import KeyRotated
from docuchat_common.ids import uuid7

from .conftest import SECRET


async def kid_in_use(world: Any) -> str:
    (user,) = await world.users()
    token = await world.keys.sign_access_token(user, "demo", session_id=uuid7())
    kid: str = jwt.get_unverified_header(token)["kid"]
    return kid


async def published(world: Any) -> set[str]:
    return {key["kid"] for key in (await world.keys.published())["keys"]}


async def test_a_new_key_is_published_before_it_signs_and_the_old_until_its_tokens_expire(make_world: Any) -> None:
    world = await make_world()
    await world.sign_in_as(await world.tenant(), "ann@example.com")
    old = await kid_in_use(world)
    new = (await world.keys.rotate()).kid
    assert await published(world) == {old, new}
    assert await kid_in_use(world) == old
    world.clock.advance(minutes=10)
    assert await kid_in_use(world) == new
    world.clock.advance(minutes=60)
    assert await published(world) == {old, new}  # a minute longer, for clocks that are behind
    world.clock.advance(minutes=1)
    assert await published(world) == {new}


async def test_rotating_drops_what_no_token_needs(make_world: Any) -> None:
    world = await make_world()
    (first,) = await world.kids()
    second = (await world.keys.rotate()).kid
    world.clock.advance(hours=2)
    third = (await world.keys.rotate()).kid
    assert await world.kids() == {second, third}
    assert first not in await published(world)
    rotated = [event.kid for event in await world.events() if isinstance(event, KeyRotated)]
    assert rotated == [first, second, third]


async def test_some_key_signs_at_every_moment_of_hasty_rotations(make_world: Any) -> None:
    world = await make_world()
    await world.sign_in_as(await world.tenant(), "ann@example.com")
    for minute in range(40):
        if minute % 3 == 0:
            await world.keys.rotate()
        assert await kid_in_use(world) in await published(world)
        world.clock.advance(minutes=1)


async def test_replicas_that_start_together_make_one_key(make_world: Any) -> None:
    world = await make_world()
    await world.admin.execute("DELETE FROM auth.signing_keys")
    await asyncio.gather(*(world.keys.ensure_key() for _ in range(10)))
    assert len(await world.kids()) == 1


async def test_an_old_key_is_replaced_once_whoever_looks_and_every_token_verifies_until_it_ends(
    make_world: Any, clock: Any
) -> None:
    world = await make_world()
    await world.sign_in_as(await world.tenant(), "ann@example.com")
    (user,) = await world.users()
    rings = [world.keys, *(ring_of(world, clock, SealedKeyForge(SECRET)) for _ in range(4))]
    old, age = await kid_in_use(world), timedelta(days=90)
    clock.advance(days=89)
    early = [await ring.rotate_when_due(age) for ring in rings]
    clock.advance(days=1)
    made = [key for key in await asyncio.gather(*(ring.rotate_when_due(age) for ring in rings)) if key is not None]

    assert early == [None] * 5 and len(made) == 1
    assert made[0].not_before == clock.now() + timedelta(minutes=10)  # published ahead
    signed: dict[str, Any] = {}
    for _ in range(30):
        for ring in rings:
            signed[await ring.sign_access_token(user, "demo", session_id=uuid7())] = clock.now()
        for ring in rings:
            keys = jwt.PyJWKSet.from_dict(await ring.published())
            for token, since in signed.items():
                if clock.now() < since + timedelta(hours=1):
                    key = keys[jwt.get_unverified_header(token)["kid"]]
                    jwt.decode(token, key, audience="docuchat", options={"verify_exp": False, "verify_iat": False})
        clock.advance(minutes=5)
    assert {jwt.get_unverified_header(token)["kid"] for token in signed} == {old, made[0].kid}
    assert await published(world) == {made[0].kid}
    told = [event.detail for event in await world.events() if getattr(event, "action", "") == "signing_keys.rotate"]
    assert told == ["on schedule"]


async def test_revoking_ends_every_older_key_at_once_everywhere(make_world: Any, clock: Any) -> None:
    world = await make_world()
    await world.sign_in_as(await world.tenant(), "ann@example.com")
    old, replica = await kid_in_use(world), ring_of(world, clock, SealedKeyForge(SECRET))
    await replica.published()
    new = (await world.keys.rotate(revoke=True)).kid
    assert await published(world) == {new}
    assert await kid_in_use(world) == new
    clock.advance(seconds=2)
    assert [key["kid"] for key in (await replica.published())["keys"]] == [new]
    # gateways hear of it, so that who is connected goes as well
    assert [one.subject for one in (await world.revisions.list_after(None)).items] == [str(signer_id(old))]


async def test_another_secret_makes_a_new_key_and_lets_the_old_one_expire(make_world: Any, clock: Any) -> None:
    world = await make_world()
    (old,) = await world.kids()
    ring = ring_of(world, clock, SealedKeyForge("another-secret-that-is-long-enough-too"))
    await ring.ensure_key()
    await ring.ensure_key()
    assert len(await world.kids()) == 2
    assert old in {key["kid"] for key in (await ring.published())["keys"]}
    clock.advance(hours=1, minutes=1)
    assert old not in {key["kid"] for key in (await ring.published())["keys"]}


async def test_another_algorithm_takes_over_by_rotation(make_world: Any, clock: Any) -> None:
    world = await make_world()
    await world.sign_in_as(await world.tenant(), "ann@example.com")
    (user,) = await world.users()
    forge = SealedKeyForge("a-secret-of-the-tests-that-is-long-enough")
    ring = ring_of(world, clock, forge, SigningAlgorithm.ES256)
    await ring.ensure_key()
    assert jwt.get_unverified_header(await ring.sign_access_token(user, "demo", session_id=uuid7()))["alg"] == "EdDSA"
    clock.advance(minutes=10)
    assert jwt.get_unverified_header(await ring.sign_access_token(user, "demo", session_id=uuid7()))["alg"] == "ES256"


def ring_of(
    world: Any, clock: Any, forge: SealedKeyForge, algorithm: SigningAlgorithm = SigningAlgorithm.EDDSA
) -> KeyRing:
    return KeyRing(
        world.uow,
        forge,
        world.revisions,
        clock,
        issuer="docuchat",
        audience="docuchat",
        algorithm=algorithm,
        token_lifetime=timedelta(hours=1),
        publish_ahead=timedelta(minutes=10),
    )


async def test_both_algorithms_sign_what_their_public_keys_verify(clock: Any) -> None:
    forge = SealedKeyForge("a-secret-of-the-tests-that-is-long-enough")
    for algorithm in SigningAlgorithm:
        key = forge.create(algorithm, created_at=clock.now(), not_before=clock.now())
        token = forge.sign(key, {"sub": "someone"})
        public = jwt.PyJWK.from_dict(dict(key.public_jwk))
        assert jwt.decode(token, public, algorithms=[algorithm.value]) == {"sub": "someone"}
        assert not {"d", "k", "p", "q"} & set(key.public_jwk)


async def test_a_seal_opens_under_its_secret_and_kid_only(clock: Any) -> None:
    forge = SealedKeyForge("a-secret-of-the-tests-that-is-long-enough")
    one = forge.create(SigningAlgorithm.EDDSA, created_at=clock.now(), not_before=clock.now())
    two = forge.create(SigningAlgorithm.EDDSA, created_at=clock.now(), not_before=clock.now())
    swapped = replace(one, sealed_private_key=two.sealed_private_key)
    with pytest.raises(KeySealBroken):
        SealedKeyForge("a-secret-of-the-tests-that-is-long-enough").sign(swapped, {})
    with pytest.raises(KeySealBroken):
        SealedKeyForge("another-secret-that-is-long-enough-too").sign(one, {})


async def test_keys_outlive_the_database(make_world: Any) -> None:
    world = await make_world()
    await world.sign_in_as(await world.tenant(), "ann@example.com")
    before = await published(world)

    @asynccontextmanager
    async def away() -> AsyncIterator[None]:
        raise UpstreamUnavailable
        yield

    world.uow.system = away
    world.clock.advance(minutes=5)
    assert await published(world) == before
    assert await kid_in_use(world) in before
