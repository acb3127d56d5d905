"""What tokens that are out there do not know is recorded with its cause, and a reader misses none of it."""

import asyncio
from typing import Any

import jwt
import pytest

from docuchat_auth.sessions.errors import RefreshTokenReused
from docuchat_auth.users.service import outdate
from docuchat_common.ids import uuid7


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def told(world: Any, after: str | None) -> tuple[list[tuple[str, str, int, str]], str]:
    page = await world.revisions.list_after(after)
    return [(item.kind, item.subject, item.version, item.state) for item in page.items], page.after


async def test_a_token_names_its_session_and_the_version_that_a_change_of_rights_outdates(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    first = await world.sign_in_as(tenant, "ann@example.com")
    claims = claims_of(first.access_token)
    (user,) = await world.users()
    async with world.uow(tenant.id) as tx:
        await outdate(tx, world.revisions, tenant.id, user.id)
    second = claims_of((await world.sessions.refresh(tenant.id, first.refresh_token)).access_token)

    assert (claims["ver"], claims["groups"], claims["sub_type"]) == (0, [], "user")
    assert (second["ver"], second["sid"]) == (1, claims["sid"])
    assert (await told(world, None))[0] == [("user", str(user.id), 1, "changed")]


async def test_what_is_not_committed_is_told_to_nobody_and_what_commits_late_to_everybody(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    early, late = uuid7(), uuid7()
    recorded, may_commit = asyncio.Event(), asyncio.Event()

    async def record_slowly() -> None:
        async with world.uow(tenant.id) as tx:
            await world.revisions.record(tx, "session", tenant.id, late, state="ended")
            recorded.set()
            await may_commit.wait()

    slow = asyncio.create_task(record_slowly())
    await recorded.wait()
    async with world.uow(tenant.id) as tx:  # begins later, and is there first
        await world.revisions.record(tx, "session", tenant.id, early, state="ended")
    first, after = await told(world, None)
    nothing, after = await told(world, after)
    may_commit.set()
    await slow
    second, after = await told(world, after)

    assert first == [("session", str(early), 0, "ended")]
    assert nothing == []
    assert second == [("session", str(late), 0, "ended")]
    assert (await told(world, after))[0] == []


async def test_what_there_is_comes_in_pages_and_what_changes_meanwhile_after_them(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    some, late = [uuid7() for _ in range(5)], uuid7()
    before = (await world.revisions.list_after(None)).after
    async with world.uow(tenant.id) as tx:
        await world.revisions.record(tx, "session", tenant.id, *some, state="ended")
    for asked in (None, before):
        found: list[str] = []
        first = await world.revisions.list_after(asked, None, 2)
        if asked is None:
            async with world.uow(tenant.id) as tx:
                await world.revisions.record(tx, "session", tenant.id, late, some[0], state="ended")
        answer = first
        while answer.next is not None:
            found += [one.subject for one in answer.items]
            answer = await world.revisions.list_after(asked, answer.next, 2)
        found += [one.subject for one in answer.items]
        assert len(found) == len(set(found)) and set(found) >= {str(one) for one in some}
        if asked is None:
            assert set(await told_subjects(world, first.after)) == {str(late), str(some[0])}


async def told_subjects(world: Any, after: str) -> list[str]:
    return [one.subject for one in (await world.revisions.list_after(after)).items]


async def test_a_change_that_is_rolled_back_is_never_told(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    with pytest.raises(ZeroDivisionError):
        async with world.uow(tenant.id) as tx:
            await world.revisions.record(tx, "session", tenant.id, uuid7(), state="ended")
            1 / 0  # noqa: B018 - any exception
    assert (await told(world, None))[0] == []


async def test_a_place_of_before_the_database_came_back_from_a_back_up_gets_everything(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    async with world.uow(tenant.id) as tx:
        await world.revisions.record(tx, "tenant", tenant.id, tenant.id, state="suspended")
    future = 2**40 + 7
    assert (await told(world, f"{future}:{future}:"))[0] == [("tenant", str(tenant.id), 0, "suspended")]


async def test_signing_out_and_reuse_end_the_session(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    out = await world.sign_in_as(tenant, "ann@example.com")
    await world.sessions.end(tenant.id, out.refresh_token)
    ended, after = await told(world, None)
    await world.sessions.end(tenant.id, out.refresh_token)
    stolen = await world.sign_in_as(tenant, "ann@example.com")
    await world.sessions.refresh(
        tenant.id, (await world.sessions.refresh(tenant.id, stolen.refresh_token)).refresh_token
    )
    with pytest.raises(RefreshTokenReused):
        await world.sessions.refresh(tenant.id, stolen.refresh_token)
    reused, _ = await told(world, after)

    assert ended == [("session", claims_of(out.access_token)["sid"], 0, "ended")]
    assert reused == [("session", claims_of(stolen.access_token)["sid"], 0, "ended")]


async def test_a_revision_is_forgotten_when_no_token_can_contradict_it_and_a_suspension_never(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    async with world.uow(tenant.id) as tx:
        await world.revisions.record(tx, "session", tenant.id, uuid7(), state="ended")
        await world.revisions.record(tx, "tenant", tenant.id, tenant.id, state="suspended")
    world.clock.advance(days=7)
    assert await world.revisions.forget_expired() == 0
    world.clock.advance(hours=2)
    assert await world.revisions.forget_expired() == 1
    assert (await told(world, None))[0] == [("tenant", str(tenant.id), 0, "suspended")]
