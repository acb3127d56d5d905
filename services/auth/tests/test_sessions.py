"""Refresh tokens: they rotate, and reuse ends the family (S5)."""

import asyncio
from typing import Any

import pytest

from docuchat_auth.sessions.domain import successor_of
from docuchat_auth.sessions.errors import InvalidRefreshToken, RefreshTokenReused


async def test_a_refresh_token_is_exchanged_for_a_new_pair(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    first = await world.sign_in_as(tenant, "ann@example.com")
    second = await world.sessions.refresh(tenant.id, first.refresh_token)
    third = await world.sessions.refresh(tenant.id, second.refresh_token)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert first.access_token != second.access_token


async def test_a_lost_answer_is_told_again_until_its_token_is_used(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    first = await world.sign_in_as(tenant, "ann@example.com")
    lost = await world.sessions.refresh(tenant.id, first.refresh_token)
    told_again = await world.sessions.refresh(tenant.id, first.refresh_token)
    assert told_again.refresh_token == lost.refresh_token
    assert await world.sessions.refresh(tenant.id, told_again.refresh_token)
    assert await world.admin.fetchval("SELECT count(*) FROM auth.refresh_tokens") == 3


async def test_reuse_after_the_successor_was_used_revokes_the_whole_family(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    first = await world.sign_in_as(tenant, "ann@example.com")
    second = await world.sessions.refresh(tenant.id, first.refresh_token)
    third = await world.sessions.refresh(tenant.id, second.refresh_token)
    with pytest.raises(RefreshTokenReused):
        await world.sessions.refresh(tenant.id, first.refresh_token)
    for ended in (second, third):
        with pytest.raises((InvalidRefreshToken, RefreshTokenReused)):
            await world.sessions.refresh(tenant.id, ended.refresh_token)


async def test_a_closed_account_does_not_refresh(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, "ann@example.com")
    await world.admin.execute("UPDATE auth.users SET is_active = false")
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, pair.refresh_token)
    await world.admin.execute("UPDATE auth.users SET is_active = true")
    lost = await world.sessions.refresh(tenant.id, pair.refresh_token)
    await world.admin.execute("UPDATE auth.users SET is_active = false")
    for token in (pair.refresh_token, lost.refresh_token):
        with pytest.raises(InvalidRefreshToken):
            await world.sessions.refresh(tenant.id, token)


async def test_reuse_leaves_other_sign_ins_alone(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    phone = await world.sign_in_as(tenant, "ann@example.com")
    laptop = await world.sign_in_as(tenant, "ann@example.com")
    second = await world.sessions.refresh(tenant.id, phone.refresh_token)
    await world.sessions.refresh(tenant.id, second.refresh_token)
    with pytest.raises(RefreshTokenReused):
        await world.sessions.refresh(tenant.id, phone.refresh_token)
    assert await world.sessions.refresh(tenant.id, laptop.refresh_token)


async def test_parallel_refreshes_have_one_successor(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, "ann@example.com")
    pairs = await asyncio.gather(*(world.sessions.refresh(tenant.id, pair.refresh_token) for _ in range(50)))
    assert len({pair.refresh_token for pair in pairs}) == 1
    assert await world.admin.fetchval("SELECT count(*) FROM auth.refresh_tokens") == 2


async def test_a_token_does_not_tell_its_successor(make_world: Any) -> None:
    assert successor_of("token", b"a" * 32) != successor_of("token", b"b" * 32)
    assert successor_of("token", b"a" * 32) != successor_of("other", b"a" * 32)


async def test_logging_out_revokes_and_is_no_oracle(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, "ann@example.com")
    await world.sessions.end(tenant.id, pair.refresh_token)
    await world.sessions.end(tenant.id, "never issued")
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, pair.refresh_token)


async def test_a_refresh_token_expires(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, "ann@example.com")
    world.clock.advance(days=30)
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, pair.refresh_token)
    assert not await world.admin.fetchval("SELECT bool_or(revoked_at IS NOT NULL) FROM auth.refresh_tokens")


async def test_a_refresh_token_of_another_tenant_is_unknown(make_world: Any) -> None:
    world = await make_world()
    one, two = await world.tenant("one"), await world.tenant("two")
    pair = await world.sign_in_as(one, "ann@example.com")
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(two.id, pair.refresh_token)
    assert await world.sessions.refresh(one.id, pair.refresh_token)


async def test_only_the_hash_of_a_token_is_stored(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, "ann@example.com")
    (stored,) = await world.admin.fetch("SELECT * FROM auth.refresh_tokens")
    assert stored["token_hash"] and pair.refresh_token not in repr(dict(stored))


async def test_expired_tokens_are_swept(make_world: Any) -> None:
    from datetime import timedelta

    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, "ann@example.com")
    world.clock.advance(days=30, hours=23)
    await world.sign_in_as(tenant, "ann@example.com")
    assert await world.sessions.forget_expired(timedelta(days=1)) == 0
    world.clock.advance(hours=2)
    assert await world.sessions.forget_expired(timedelta(days=1)) == 1
    assert await world.admin.fetchval("SELECT count(*) FROM auth.refresh_tokens") == 1
