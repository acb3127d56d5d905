"""Groups: what tokens name, and that who leaves one cannot go on with an older token."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from docuchat_auth.groups.domain import MOST_GROUPS
from docuchat_auth.groups.errors import GroupNameTaken, GroupNotFound, TooManyGroups
from docuchat_auth.users.errors import UserNotFound
from docuchat_auth.users.service import outdate
from docuchat_common.ids import UserId, uuid7


@pytest.fixture
async def world(make_world: Any) -> Any:
    return await make_world()


async def refreshed(world: Any, tenant: Any, pair: Any) -> tuple[Any, int, list[str]]:
    """The next pair, and the version and groups that its access token says."""
    pair = await world.sessions.refresh(tenant.id, pair.refresh_token)
    claims = jwt.decode(pair.access_token, options={"verify_signature": False})
    return pair, claims["ver"], claims["groups"]


async def told(world: Any) -> dict[str, int]:
    page = await world.revisions.list_after(None)
    return {item.subject: item.version for item in page.items if item.kind == "user"}


async def test_a_token_names_the_groups_and_each_coming_and_going_outdates_those_before(world: Any) -> None:
    tenant = await world.tenant()
    boss = await world.service_key(tenant)
    pair = await world.sign_in_as(tenant, "ann@example.com")
    (user,) = await world.users()
    legal, sales = [await world.groups.create(boss, name) for name in ("Legal", "Sales")]

    for group in (legal, sales, legal):  # once more changes nothing
        await world.groups.add_member(boss, group.id, user.id)
    pair, version, groups = await refreshed(world, tenant, pair)
    assert (version, groups) == (2, sorted([str(legal.id), str(sales.id)]))
    await world.groups.remove_member(boss, sales.id, user.id)
    await world.groups.remove_member(boss, sales.id, user.id)
    assert await told(world) == {str(user.id): 3}
    assert (await world.groups.get(tenant.id, legal.id)).members == 1
    await world.groups.delete(boss, legal.id)
    assert await told(world) == {str(user.id): 4}
    _, version, groups = await refreshed(world, tenant, pair)
    assert (version, groups) == (4, [])


async def test_a_name_is_unique_in_its_tenant_whatever_its_case(world: Any) -> None:
    one, two = await world.tenant("one"), await world.tenant("two")
    first, second = await world.service_key(one), await world.service_key(two)
    legal = await world.groups.create(first, "Legal")
    await world.groups.create(second, "Legal")
    other = await world.groups.create(first, "Sales")
    with pytest.raises(GroupNameTaken):
        await world.groups.create(first, "LEGAL")
    with pytest.raises(GroupNameTaken):
        await world.groups.rename(first, other.id, "legal")
    assert (await world.groups.rename(first, legal.id, "LEGAL")).name == "LEGAL"


async def test_another_tenants_group_and_user_are_not_there(world: Any) -> None:
    one, two = await world.tenant("one"), await world.tenant("two")
    first, second = await world.service_key(one), await world.service_key(two)
    await world.sign_in_as(two, "eve@example.com")
    (stranger,) = await world.users()
    group = await world.groups.create(first, "Legal")
    with pytest.raises(UserNotFound):
        await world.groups.add_member(first, group.id, stranger.id)
    for refused in (
        world.groups.get(two.id, group.id),
        world.groups.rename(second, group.id, "x"),
        world.groups.add_member(second, group.id, stranger.id),
        world.groups.remove_member(second, group.id, stranger.id),
        world.groups.delete(second, group.id),
        world.groups.list_members(two.id, group.id, None, 10),
    ):
        with pytest.raises(GroupNotFound):
            await refused
    assert await world.groups.list_after(two.id, None, 10) == []
    assert await told(world) == {}


async def test_a_user_is_in_a_hundred_groups_at_most_also_when_two_add_at_once(world: Any) -> None:
    tenant = await world.tenant()
    boss = await world.service_key(tenant)
    await world.sign_in_as(tenant, "ann@example.com")
    (user,) = await world.users()
    ids = [uuid7() for _ in range(MOST_GROUPS + 1)]
    async with world.uow(tenant.id) as tx:
        for number, group_id in enumerate(ids):
            await tx.groups.add(tenant.id, group_id, str(number), datetime.now(UTC))
            if number < MOST_GROUPS - 1:
                await tx.groups.add_member(tenant.id, group_id, user.id, datetime.now(UTC))

    outcomes = await asyncio.gather(
        *(world.groups.add_member(boss, group_id, user.id) for group_id in ids[-2:]), return_exceptions=True
    )
    assert sorted(map(type, outcomes), key=str) == sorted([TooManyGroups, type(None)], key=str)
    _, _, groups = await refreshed(world, tenant, await world.sign_in_as(tenant, "ann@example.com"))
    assert len(groups) == MOST_GROUPS


async def test_a_change_of_members_waits_for_another_change_of_the_same_user(world: Any) -> None:
    tenant = await world.tenant()
    boss = await world.service_key(tenant)
    await world.sign_in_as(tenant, "ann@example.com")
    (user,) = await world.users()
    group = await world.groups.create(boss, "Legal")
    await world.groups.add_member(boss, group.id, user.id)
    async with world.uow(tenant.id) as tx:
        await outdate(tx, world.revisions, tenant.id, user.id)
        removal = asyncio.create_task(world.groups.delete(boss, group.id))
        await asyncio.sleep(0.05)
        assert not removal.done()
    await removal
    assert await told(world) == {str(user.id): 3}


async def test_admins_manage_groups_over_http(auth: Any) -> None:
    owner = {"Authorization": f"Bearer {(await auth.tokens_of('ann@example.com'))['access_token']}"}
    member = {"Authorization": f"Bearer {(await auth.tokens_of('ben@example.com'))['access_token']}"}
    ben = (await auth.http.get("/v1/users/me", headers=member)).json()["id"]
    key = {"Idempotency-Key": "once"}
    made = [await auth.http.post("/v1/groups", json={"name": "Legal"}, headers=owner | key) for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[0].json() == made[1].json()
    path = f"/v1/groups/{made[0].json()['id']}"

    assert (await auth.http.put(f"{path}/members/{ben}", headers=owner)).status_code == 204
    assert (await auth.http.put(f"{path}/members/{UserId(uuid7())}", headers=owner)).json()["code"] == "user_not_found"
    listed = (await auth.http.get(f"{path}/members", headers=owner)).json()
    assert [item["user_id"] for item in listed["items"]] == [ben]
    renamed = await auth.http.patch(path, json={"name": "Law"}, headers=owner)
    assert (renamed.json()["name"], renamed.json()["members"]) == ("Law", 1)
    await auth.http.post("/v1/groups", json={"name": "Sales"}, headers=owner)
    first = (await auth.http.get("/v1/groups", params={"limit": 1}, headers=owner)).json()
    rest = (await auth.http.get("/v1/groups", params={"cursor": first["next_cursor"]}, headers=owner)).json()
    assert [group["name"] for group in first["items"] + rest["items"]] == ["Law", "Sales"]
    assert rest["next_cursor"] is None
    assert (await auth.http.delete(f"{path}/members/{ben}", headers=owner)).status_code == 204
    assert (await auth.http.delete(path, headers=owner)).status_code == 204
    assert (await auth.http.get(path, headers=owner)).json()["code"] == "group_not_found"
    refused = await auth.http.post("/v1/groups", json={"name": "Mine"}, headers=member)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    assert (await auth.http.get("/v1/groups", params={"cursor": "x"}, headers=owner)).json()["code"] == "invalid_cursor"
