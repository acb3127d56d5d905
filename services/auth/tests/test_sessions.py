"""Refresh tokens: they rotate, and reuse ends the family (S5)."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.members.domain import MemberChange
from docuchat_auth.sessions.domain import MOST_SESSIONS, SessionPolicy, SignInMethod, successor_of
from docuchat_auth.sessions.errors import InvalidRefreshToken, RefreshTokenReused, TooManyRefreshes
from docuchat_auth.users.errors import UserGone
from docuchat_common.rate_limits import parse_rates

from .conftest import OPERATOR

MONTH = timedelta(days=30)


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

    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, "ann@example.com")
    world.clock.advance(days=30, hours=23)
    await world.sign_in_as(tenant, "ann@example.com")
    assert await world.sessions.forget_expired(timedelta(days=1)) == 0
    world.clock.advance(hours=2)
    assert await world.sessions.forget_expired(timedelta(days=1)) == 1
    assert await world.admin.fetchval("SELECT count(*) FROM auth.refresh_tokens") == 1


async def test_a_session_that_is_being_begun_ends_with_all_others(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, "ann@example.com")
    (user,) = await world.users()
    begun, go = asyncio.Event(), asyncio.Event()

    async def begin() -> Any:
        async with world.uow(tenant.id) as tx:
            session = await world.sessions.start(tx, user, SignInMethod.CODE)
            begun.set()
            await go.wait()
            return session

    async def end_all() -> None:
        async with world.uow(tenant.id) as tx:
            await world.sessions.end_all(tx, user)

    beginning = asyncio.create_task(begin())
    await begun.wait()
    ending = asyncio.create_task(end_all())
    await asyncio.wait([ending], timeout=0.3)  # it must not be through by then
    go.set()
    await ending
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, (await beginning).refresh_token)


async def test_thousands_of_sessions_end_in_one_step_by_one_revision(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, "ann@example.com")
    (user,) = await world.users()
    await world.admin.execute(
        "INSERT INTO auth.refresh_tokens (tenant_id, id, user_id, family_id, token_hash, created_at, expires_at)"
        " SELECT $1, gen_random_uuid(), $2, gen_random_uuid(), sha256(gen_random_uuid()::text::bytea), now(),"
        " now() + interval '30 days' FROM generate_series(1, 5000)",
        tenant.id,
        user.id,
    )
    async with world.uow(tenant.id) as tx:
        await world.sessions.end_all(tx, user)
    page = await world.revisions.list_after(None)
    assert [(one.kind, one.subject, one.version) for one in page.items] == [("user", str(user.id), 1)]
    assert not await world.admin.fetchval("SELECT count(*) FROM auth.refresh_tokens WHERE revoked_at IS NULL")


async def test_one_session_stays_with_its_access_token_where_the_others_end(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, "ann@example.com")
    (user,) = await world.users()
    async with world.uow(tenant.id) as tx:
        mine, other = [await world.sessions.start(tx, user, SignInMethod.CODE) for _ in range(2)]
        await world.sessions.end_all(tx, user, keep=mine.id)
    page = await world.revisions.list_after(None)
    assert {one.kind for one in page.items} == {"session"} and len(page.items) == 2
    assert str(other.id) in {one.subject for one in page.items} and str(mine.id) not in {
        one.subject for one in page.items
    }
    assert await world.sessions.refresh(tenant.id, mine.refresh_token)
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, other.refresh_token)


async def test_beyond_fifty_sessions_the_one_that_was_not_used_for_longest_ends(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    first = await world.sign_in_as(tenant, "ann@example.com")
    (user,) = await world.users()
    world.clock.advance(seconds=1)
    async with world.uow(tenant.id) as tx:
        oldest = await world.sessions.start(tx, user, SignInMethod.CODE)
    world.clock.advance(seconds=1)
    first = await world.sessions.refresh(tenant.id, first.refresh_token)
    world.clock.advance(seconds=1)
    async with world.uow(tenant.id) as tx:
        for _ in range(MOST_SESSIONS - 1):
            await world.sessions.start(tx, user, SignInMethod.CODE)
        assert len(await tx.refresh_tokens.list_open(tenant.id, user.id, None, world.clock.now(), 200)) == MOST_SESSIONS
    told = (await world.revisions.list_after(None)).items
    assert [(one.kind, one.subject, one.state) for one in told] == [("session", str(oldest.id), "ended")]
    assert await world.sessions.refresh(tenant.id, first.refresh_token)


async def test_who_was_closed_or_removed_meanwhile_begins_no_session(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await world.sign_in_as(tenant, "boss@example.com")
    await world.sign_in_as(tenant, "ann@example.com")
    user = (await world.users())[1]
    await world.members.change(tenant.id, user.id, MemberChange(is_active=False), OPERATOR)
    for _ in range(2):
        with pytest.raises(UserGone):
            async with world.uow(tenant.id) as tx:
                await world.sessions.start(tx, user, SignInMethod.CODE)
        await world.admin.execute("DELETE FROM auth.users WHERE id = $1", user.id)


async def test_a_session_comes_to_an_age_however_often_it_is_refreshed(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, "ann@example.com")
    for _ in range(4):
        world.clock.advance(days=22)
        pair = await world.sessions.refresh(tenant.id, pair.refresh_token)
    ends = await world.admin.fetchval("SELECT max(expires_at) FROM auth.refresh_tokens")
    assert ends - world.clock.now() < timedelta(days=2, minutes=1)  # told to who lists sessions
    world.clock.advance(days=2, minutes=1)  # a session's id is made by the machine's clock
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, pair.refresh_token)
    began = world.clock.now()
    assert SessionPolicy(MONTH, None, ()).ends_at(began, began + 10 * MONTH) == began + 11 * MONTH


async def test_a_session_is_refreshed_so_often_and_another_one_for_itself(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    busy, other = [await world.sign_in_as(tenant, "ann@example.com") for _ in range(2)]
    first, room = busy, world.sessions._policy
    world.sessions._policy = replace(room, refreshes=parse_rates("3/h"))
    for _ in range(3):
        busy = await world.sessions.refresh(tenant.id, busy.refresh_token)
    with pytest.raises(TooManyRefreshes):
        await world.sessions.refresh(tenant.id, busy.refresh_token)
    assert await world.sessions.refresh(tenant.id, other.refresh_token)
    world.sessions._policy = room
    busy = await world.sessions.refresh(tenant.id, busy.refresh_token)  # what was refused was not spent
    world.sessions._policy = replace(room, refreshes=parse_rates("3/h"))
    with pytest.raises(RefreshTokenReused):  # a thief is noticed all the same
        await world.sessions.refresh(tenant.id, first.refresh_token)
