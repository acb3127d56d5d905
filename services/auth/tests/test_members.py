"""Managing people: what ends at once, who may make whom what, and that a tenant keeps an owner."""

import asyncio
from typing import Any

import orjson
import pytest

from docuchat_auth.api_keys.domain import NewKey
from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.audit.service import AuditLog
from docuchat_auth.bootstrap import EXPORTED
from docuchat_auth.members.domain import MemberChange
from docuchat_auth.members.errors import InvalidHandOver, LastOwner, OwnersOnly
from docuchat_auth.members.service import Members
from docuchat_auth.sessions.domain import SignInMethod
from docuchat_auth.sessions.errors import InvalidRefreshToken
from docuchat_auth.users.errors import UserGone, UserNotFound
from docuchat_common.contracts.permissions import Role
from docuchat_common.db import load_queries
from docuchat_common.events.catalogue import AuditRecorded, UserRemoved
from docuchat_common.exporting import Exported, Exporter
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.identity import InvalidApiKey
from docuchat_common.idempotency import Idempotency, StoredResponse
from docuchat_common.ids import UserId, uuid7

from .conftest import OPERATOR

NOT_ACTIVE = MemberChange(is_active=False)


def new_key(name: str) -> NewKey:
    return NewKey(name, frozenset({"chats.use"}), (), None, None)


class People:
    """A tenant with an owner `ann`, an admin `bob` and a member `eve`, each signed in."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.pairs: dict[str, Any] = {}
        self.users: dict[str, Any] = {}

    async def join(self) -> "People":
        self.tenant = await self.world.tenant()
        for name in ("ann", "bob", "eve"):
            self.pairs[name] = await self.world.sign_in_as(self.tenant, f"{name}@example.com")
        await self.look()
        await self.change("bob", MemberChange(Role.ADMIN), None)
        await self.look()
        return self

    async def look(self) -> None:
        self.users = {user.email.partition("@")[0]: user for user in await self.world.users()}

    def caller(self, name: str, subject_type: Any = "user") -> Caller:
        user = self.users[name]
        session_id = self.world.clock.session_id()
        return Caller(self.tenant.id, subject_type, user.id, role=user.role.value, session_id=session_id)

    async def change(self, name: str, change: MemberChange, by: str | None) -> Any:
        caller = OPERATOR if by is None else self.caller(by)
        return await self.world.members.change(self.tenant.id, self.users[name].id, change, caller)

    async def remove(self, name: str, by: str | None, heir: UserId | None = None) -> None:
        caller = OPERATOR if by is None else self.caller(by)
        await self.world.members.remove(self.tenant.id, self.users[name].id, caller, hand_over_to=heir)

    async def told(self, name: str) -> int | None:
        page = await self.world.revisions.list_after(None)
        subject = str(self.users[name].id)
        return next((item.version for item in page.items if item.subject == subject), None)


@pytest.fixture
async def people(make_world: Any) -> People:
    return await People(await make_world()).join()


async def test_a_change_of_role_outdates_the_tokens_and_the_same_again_changes_nothing(people: People) -> None:
    changed = await people.change("eve", MemberChange(Role.VIEWER), "bob")
    again = await people.change("eve", MemberChange(Role.VIEWER), "bob")
    assert (changed.role, changed.version, again.version) == (Role.VIEWER, 1, 1)
    assert await people.told("eve") == 1
    await people.world.sessions.refresh(people.tenant.id, people.pairs["eve"].refresh_token)


async def test_deactivation_ends_the_sessions_for_good_and_who_is_active_again_signs_in_again(people: People) -> None:
    await people.change("eve", NOT_ACTIVE, "bob")
    assert await people.told("eve") == 1
    await people.change("eve", MemberChange(is_active=True), "bob")
    with pytest.raises(InvalidRefreshToken):
        await people.world.sessions.refresh(people.tenant.id, people.pairs["eve"].refresh_token)
    assert await people.world.sign_in_as(people.tenant, "eve@example.com")


async def test_removal_ends_the_sessions_and_tells_who_gets_what_was_owned(people: People) -> None:
    eve, bob = people.users["eve"], people.users["bob"]
    await people.remove("eve", "bob", bob.id)
    assert await people.told("eve") == 1
    with pytest.raises(InvalidRefreshToken):
        await people.world.sessions.refresh(people.tenant.id, people.pairs["eve"].refresh_token)
    removed = [event for event in await people.world.events() if isinstance(event, UserRemoved)]
    assert [(event.user_id, event.hand_over_to) for event in removed] == [(eve.id, bob.id)]
    assert eve.id not in {user.id for user in await people.world.users()}
    with pytest.raises(UserNotFound):
        await people.remove("eve", "bob")
    await people.world.sign_in_as(people.tenant, "eve@example.com")
    await people.look()
    assert people.users["eve"].id != eve.id


async def test_the_keys_of_a_removed_user_end_and_what_they_were_answered_and_guessed_is_forgotten(
    people: People,
) -> None:
    world, eve = people.world, people.users["eve"]
    forgotten: list[Any] = []

    async def forget(user: Any) -> int:
        forgotten.append(user.id)
        return 1

    keys = ApiKeys(world.uow, world.keys, world.revisions, world.clock)
    key = await keys.create(people.caller("eve"), new_key("mine"))
    theirs = await keys.create(people.caller("bob"), new_key("his"))
    for caller in (people.caller("eve"), Caller(people.tenant.id, "key", key.key.id), people.caller("bob")):
        async with Idempotency(world.uow).claim(caller, "once", b"1") as claim, world.uow(people.tenant.id) as tx:
            await tx.requests.settle(claim, b"1", StoredResponse(201, b"{}"))
    members = Members(world.uow, world.sessions, world.revisions, [forget])
    await members.remove(people.tenant.id, eve.id, people.caller("bob"), hand_over_to=None)
    (removed,) = [event for event in await world.events() if isinstance(event, UserRemoved)]
    assert (removed.key_ids, forgotten) == ((key.key.id,), [eve.id])
    with pytest.raises(InvalidApiKey):
        await keys.exchange(key.text, "192.0.2.1")
    assert await keys.exchange(theirs.text, "192.0.2.1")
    rows = await world.admin.fetch("SELECT subject FROM auth.idempotent_requests")
    assert [row["subject"] for row in rows] == [people.caller("bob").subject]


@pytest.mark.parametrize("what", ["session", "password", "key"])
async def test_who_is_removed_while_signing_in_is_told_that_the_account_is_gone(people: People, what: str) -> None:
    """Who was found is gone when something is added: that is no fault of the server's."""
    world, tenant, eve = people.world, people.tenant.id, people.users["eve"]
    stale = people.caller("eve")
    with pytest.raises(UserGone):
        async with world.uow(tenant) as tx:
            found = await tx.users.find_by_id(tenant, eve.id)
            await people.remove("eve", "bob")
            if what == "session":
                await world.sessions.start(tx, found, SignInMethod.CODE)
            elif what == "password":
                await tx.passwords.put(tenant, eve.id, "$argon2id$x", world.clock.now())
            else:
                await ApiKeys(world.uow, world.keys, world.revisions, world.clock).create(stale, new_key("late"))


async def told(world: Any, whose: Exported) -> dict[str, list[dict[str, Any]]]:
    exporter = Exporter(world.uow, load_queries("docuchat_auth", "exports.sql"), EXPORTED)
    lines = b"".join([line async for line in exporter.lines(whose)]).splitlines()
    said = [orjson.loads(line) for line in lines]
    rows: dict[str, list[dict[str, Any]]] = {file: [] for file in EXPORTED}
    for line in said[:-1]:
        rows[line["file"]].append(line["row"])
    assert said[-1] == {"end": {file: len(found) for file, found in rows.items()}}
    return rows


async def test_what_is_told_of_a_tenant_is_all_but_secrets_and_of_a_person_what_is_about_the_person(
    people: People,
) -> None:
    world, tenant, eve, bob = people.world, people.tenant.id, people.users["eve"], people.users["bob"]
    other = await world.tenant("other")
    await world.sign_in_as(other, "zoe@example.com")
    keys = ApiKeys(world.uow, world.keys, world.revisions, world.clock)
    for name in ("eve", "bob"):
        await keys.create(people.caller(name), new_key(f"key of {name}"))
    async with world.uow(tenant) as tx:
        await tx.passwords.put(tenant, eve.id, "$argon2id$secret", world.clock.now())
    group = await world.groups.create(people.caller("ann"), "Board")
    for user in (eve, bob):
        await world.groups.add_member(people.caller("ann"), group.id, user.id)
    log = AuditLog(world.uow)
    await log.book([event for event in await world.events() if isinstance(event, AuditRecorded)])

    all_of_it = await told(world, Exported(tenant))
    assert {user["email"] for user in all_of_it["users"]} == {f"{name}@example.com" for name in ("ann", "bob", "eve")}
    assert all(user["updated_at"] for user in all_of_it["users"])
    assert [len(all_of_it[file]) for file in ("tenant", "sessions", "groups", "api_keys")] == [1, 3, 1, 2]
    whole = orjson.dumps(all_of_it).decode()
    secrets = await world.admin.fetch(
        "SELECT encode(token_hash, 'hex') AS s FROM auth.refresh_tokens UNION ALL "
        "SELECT encode(secret_hash, 'hex') FROM auth.api_key_secrets UNION ALL SELECT hash FROM auth.passwords"
    )
    assert len(secrets) == 7 and not [row["s"] for row in secrets if row["s"] in whole or row["s"][:16] in whole]
    assert "zoe" not in whole

    (key,) = [key for key in all_of_it["api_keys"] if key["user_id"] == str(eve.id)]
    of_eve = await told(world, Exported(tenant, eve.id))
    assert [len(of_eve[file]) for file in ("tenant", "users", "sessions", "api_keys", "invitations")] == [0, 1, 1, 1, 0]
    assert of_eve["groups"][0]["members"] == [str(eve.id)]
    told_of = {str(eve.id), key["id"]}
    assert all(act["actor_id"] in told_of or act["object_id"] in told_of for act in of_eve["audit"])
    assert len(of_eve["audit"]) >= 2 and str(bob.id) not in orjson.dumps(of_eve["users"] + of_eve["groups"]).decode()
    assert all(act["address"] is None for act in of_eve["audit"] if act["actor_id"] not in told_of)


async def test_what_is_owned_goes_to_another_active_user_of_the_tenant_or_to_nobody(people: People) -> None:
    other = await people.world.tenant("other")
    await people.world.sign_in_as(other, "zoe@example.com")
    await people.look()
    await people.change("bob", NOT_ACTIVE, "ann")
    for heir in (people.users["eve"].id, people.users["bob"].id, people.users["zoe"].id, UserId(uuid7())):
        with pytest.raises(InvalidHandOver):
            await people.remove("eve", "ann", heir)
    await people.remove("eve", "ann")


async def test_only_an_owner_makes_changes_and_removes_owners(people: People) -> None:
    for refused in (
        people.change("eve", MemberChange(Role.OWNER), "bob"),
        people.change("bob", MemberChange(Role.OWNER), "bob"),
        people.change("ann", MemberChange(Role.MEMBER), "bob"),
        people.change("ann", NOT_ACTIVE, "bob"),
        people.remove("ann", "bob"),
        people.world.members.change(
            people.tenant.id,
            people.users["eve"].id,
            MemberChange(Role.OWNER),
            await people.world.service_key(people.tenant),
        ),
    ):
        with pytest.raises(OwnersOnly):
            await refused
    assert (await people.change("eve", MemberChange(Role.OWNER), "ann")).role is Role.OWNER
    stale = people.caller("ann")
    await people.change("ann", MemberChange(Role.ADMIN), "ann")
    with pytest.raises(OwnersOnly):  # the token still says owner
        await people.world.members.change(people.tenant.id, people.users["bob"].id, MemberChange(Role.OWNER), stale)


@pytest.mark.parametrize("what", ["role", "closed", "removed", "key"])
async def test_whose_rights_are_taken_does_not_undo_it_while_the_token_lives(people: People, what: str) -> None:
    world, bob, stale = people.world, people.users["bob"], people.caller("bob")
    again = MemberChange(Role.ADMIN, is_active=True)
    refusal: type[Exception] = UserGone
    if what == "role":
        refusal = NotAllowed
        await people.change("bob", MemberChange(Role.VIEWER), "ann")
    elif what == "closed":
        await people.change("bob", NOT_ACTIVE, "ann")
    elif what == "removed":
        await people.remove("bob", "ann")
    else:
        refusal = InvalidApiKey
        await people.change("bob", MemberChange(Role.VIEWER), "ann")
        stale = await world.service_key(people.tenant)
        keys = ApiKeys(world.uow, world.keys, world.revisions, world.clock)
        await keys.revoke(people.caller("ann"), stale.subject_id)
    for act in (
        world.members.change(people.tenant.id, bob.id, again, stale),
        world.members.change(people.tenant.id, people.users["eve"].id, again, stale),
        world.members.remove(people.tenant.id, people.users["eve"].id, stale, hand_over_to=None),
    ):
        with pytest.raises(refusal):
            await act


async def test_the_last_active_owner_stays_also_for_an_operator(people: People) -> None:
    await people.change("eve", MemberChange(Role.OWNER), "ann")
    await people.change("eve", NOT_ACTIVE, "ann")
    for refused in (
        people.change("ann", MemberChange(Role.MEMBER), None),
        people.change("ann", NOT_ACTIVE, "ann"),
        people.remove("ann", "ann"),
    ):
        with pytest.raises(LastOwner):
            await refused


async def test_two_owners_who_step_down_at_once_leave_one(people: People) -> None:
    await people.change("eve", MemberChange(Role.OWNER), "ann")
    await people.change("bob", MemberChange(Role.OWNER), "ann")
    outcomes = await asyncio.gather(
        people.change("ann", MemberChange(Role.MEMBER), "ann"),
        people.remove("bob", "bob"),
        people.change("eve", NOT_ACTIVE, "eve"),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes].count(LastOwner) == 1, outcomes
    owners = [user for user in await people.world.users() if user.role is Role.OWNER and user.is_active]
    assert len(owners) == 1


async def test_another_tenants_user_is_not_there(people: People) -> None:
    other = await people.world.tenant("other")
    await people.world.sign_in_as(other, "zoe@example.com")
    by = Caller(other.id, "user", (await people.world.users())[-1].id, role="owner")
    with pytest.raises(UserNotFound):
        await people.world.members.change(other.id, people.users["eve"].id, NOT_ACTIVE, by)
    with pytest.raises(UserNotFound):
        await people.world.members.remove(other.id, people.users["eve"].id, by, hand_over_to=None)


async def test_admins_manage_people_over_http(auth: Any) -> None:
    owner, member = [
        {"Authorization": f"Bearer {(await auth.tokens_of(f'{name}@example.com'))['access_token']}"}
        for name in ("ann", "ben")
    ]
    first = (await auth.http.get("/v1/users", params={"limit": 1}, headers=owner)).json()
    rest = (await auth.http.get("/v1/users", params={"cursor": first["next_cursor"]}, headers=owner)).json()
    assert [user["email"] for user in first["items"] + rest["items"]] == ["ann@example.com", "ben@example.com"]
    ben = rest["items"][0]["id"]

    changed = await auth.http.patch(f"/v1/users/{ben}", json={"role": "viewer", "active": False}, headers=owner)
    assert (changed.json()["role"], changed.json()["is_active"]) == ("viewer", False)
    for wanted, count in (({"role": "viewer"}, 1), ({"active": "true"}, 1), ({"email": "Ben@example.com"}, 1)):
        found = (await auth.http.get("/v1/users", params=wanted, headers=owner)).json()["items"]
        assert len(found) == count, wanted
    for wrong in ({}, {"role": "boss"}, {"active": 1}):
        assert (await auth.http.patch(f"/v1/users/{ben}", json=wrong, headers=owner)).status_code == 422, wrong
    last = await auth.http.patch(f"/v1/users/{first['items'][0]['id']}", json={"active": False}, headers=owner)
    assert (last.status_code, last.json()["code"]) == (409, "last_owner")
    assert (await auth.http.delete(f"/v1/users/{ben}", params={"hand_over_to": ben}, headers=owner)).status_code == 422
    assert (await auth.http.get("/v1/users", headers=member)).json()["code"] == "not_allowed"
    assert (await auth.http.delete(f"/v1/users/{ben}", headers=owner)).status_code == 204
    assert (await auth.http.delete(f"/v1/users/{ben}", headers=owner)).json()["code"] == "user_not_found"
