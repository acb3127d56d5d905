"""One person is erased: nothing is left but what the receipt names, and it is told once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest

from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.audit.service import AuditLog
from docuchat_auth.members.errors import InvalidHandOver, LastOwner, OwnersOnly
from docuchat_auth.user_erasures.errors import ErasureNotFound
from docuchat_auth.user_erasures.service import UserErasures
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.acts import Act, acting
from docuchat_common.audit import entry
from docuchat_common.events.catalogue import AuditRecorded, UserErased, UserRemoved
from docuchat_common.http.caller import Caller
from docuchat_common.ids import UserId, uuid7

from .test_deletion import LosesAnswers
from .test_members import People, new_key

EVES, BOBS = "192.0.2.66", "192.0.2.1"


@dataclass
class Erasing:
    """A tenant of ann, bob and eve, and what erases one of them."""

    people: People
    log: AuditLog
    erasures: UserErasures

    @property
    def world(self) -> Any:
        return self.people.world

    async def erase(self, name: str, by: str = "bob", heir: UserId | None = None) -> Any:
        return await self.erasures.erase(self.people.caller(by), self.people.users[name].id, heir)

    async def told(self, kind: Any) -> list[Any]:
        return [event for event in await self.world.events() if isinstance(event, kind)]

    async def act(self, caller: Caller, address: str) -> None:
        with acting(Act("chat.create", lambda: address)):
            await self.log.book([entry(caller, "chat.create", uuid7())])

    async def addresses(self) -> dict[Any, set[Any]]:
        found: dict[Any, set[Any]] = {}
        for row in await self.world.admin.fetch("SELECT subject_id, address FROM auth.audit_entries"):
            found.setdefault(row["subject_id"], set()).add(row["address"])
        return found

    async def traces(self, *words: str) -> set[str]:
        """The tables of auth in which a word of these stands anywhere, but for events on their way."""
        tables = await self.world.admin.fetch(
            "SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'auth'::regnamespace AND c.relkind = 'r'"
        )
        found = set()
        for table in {row["relname"] for row in tables} - {"outbox"}:
            rows = await self.world.admin.fetch(f"SELECT t::text AS text FROM auth.{table} t")
            if any(word in row["text"] for row in rows for word in words):
                found.add(table)
        return found


@pytest.fixture
async def erasing(make_world: Any) -> Erasing:
    world = await make_world()
    people, log = await People(world).join(), AuditLog(world.uow)
    return Erasing(people, log, UserErasures(world.uow, world.members, log, world.clock))


async def test_nothing_is_left_of_a_person_but_what_the_receipt_names(erasing: Erasing) -> None:
    world, people, eve = erasing.world, erasing.people, erasing.people.users["eve"]
    keys = ApiKeys(world.uow, world.keys, world.revisions, world.clock)
    key = (await keys.create(people.caller("eve"), new_key("mine"))).key
    await world.admin.execute(
        "INSERT INTO auth.invitations (tenant_id, id, email, role, token_hash, invited_by, created_at, expires_at) "
        "VALUES ($1, $2, $3, 'member', $4, $5, now(), now() + interval '1 day')",
        people.tenant.id, uuid7(), eve.email, bytes(32), people.users["bob"].id,
    )  # fmt: skip
    of_key = Caller(people.tenant.id, "key", key.id, role="member", owner_id=eve.id)
    for caller, address in ((people.caller("eve"), EVES), (of_key, EVES), (people.caller("bob"), BOBS)):
        await erasing.act(caller, address)

    receipt = await erasing.erase("eve")
    assert receipt.waiting_for == ["auth", "chat", "ingest", "usage"]
    (removed,) = await erasing.told(UserRemoved)
    assert (removed.user_id, removed.is_erasure, removed.key_ids) == (eve.id, True, (key.id,))
    acts = [event for event in await erasing.told(AuditRecorded) if event.object_id == str(eve.id)]
    assert [act.action for act in acts][-1] == "user.erase" and "user.remove" not in {act.action for act in acts}

    for _ in range(2):
        await erasing.erasures.go_on()
    await erasing.act(people.caller("eve"), EVES)  # on its way for long
    (told,) = await erasing.told(UserErased)
    counted = {name: told.erased[name] for name in ("users", "refresh_tokens", "api_keys", "invitations")}
    assert counted == {"users": 1, "refresh_tokens": 1, "api_keys": 1, "invitations": 1}
    assert told.erased["addresses_in_the_audit_log"] == 2
    addresses = await erasing.addresses()
    assert addresses[eve.id] == addresses[key.id] == {None}
    assert addresses[people.users["bob"].id] == {BOBS}, "nobody else's are touched"
    assert (await erasing.log.verify(people.tenant.id, 0)).breaks == ()
    assert await erasing.traces("eve@", EVES) == set()
    assert await erasing.traces(str(eve.id), str(key.id)) <= told.kept.keys()


async def test_what_is_erased_is_counted_whatever_is_not_heard_of(erasing: Erasing) -> None:
    for _ in range(2):
        await erasing.act(erasing.people.caller("eve"), EVES)
    await erasing.erase("eve")
    losing = LosesAnswers(erasing.world.uow)
    log = AuditLog(cast(Any, losing))
    erasures = UserErasures(cast(Any, losing), erasing.world.members, log, erasing.world.clock)
    assert await losing.repeat(erasures.go_on) > 3
    (told,) = await erasing.told(UserErased)
    assert told.erased["addresses_in_the_audit_log"] == 2


async def test_every_table_that_goes_with_a_user_is_counted(erasing: Erasing) -> None:
    cascades = (
        "SELECT r.relname FROM pg_constraint k JOIN pg_class r ON r.oid = k.conrelid "
        "WHERE k.contype = 'f' AND k.confrelid = 'auth.users'::regclass AND k.confdeltype = 'c'"
    )
    tables = {row["relname"] for row in await erasing.world.admin.fetch(cascades)}
    async with erasing.world.uow(erasing.people.tenant.id) as tx:
        counted = await tx.user_receipts.count_rows(erasing.people.tenant.id, erasing.people.users["eve"].id)
    assert counted.keys() == tables | {"users"}


async def test_the_receipt_is_complete_when_all_have_spoken_once(erasing: Erasing) -> None:
    tenant, eve = erasing.people.tenant.id, erasing.people.users["eve"].id
    with pytest.raises(ErasureNotFound):
        await erasing.erasures.get_receipt(tenant, eve)
    await erasing.erase("eve")
    await erasing.erasures.go_on()
    said: Sequence[UserErased] = await erasing.told(UserErased)
    for service in ("chat", "ingest", "usage"):
        assert (await erasing.erasures.get_receipt(tenant, eve)).finished_at is None
        told = UserErased(tenant_id=tenant, user_id=eve, service=service, erased={"rows": 3}, kept={})
        said = [*said, told, told.model_copy(update={"erased": {"rows": 0}})]
        for event in said:
            await erasing.erasures.note(event)
    done = await erasing.erasures.get_receipt(tenant, eve)
    assert (done.finished_at, done.waiting_for) == (erasing.world.clock.now(), [])
    assert done.parts["chat"].erased == {"rows": 3}, "what was said first"
    other = await erasing.world.tenant("other")
    with pytest.raises(ErasureNotFound):
        await erasing.erasures.get_receipt(other.id, eve)


async def test_it_obeys_the_rules_of_a_removal(erasing: Erasing) -> None:
    for refused, error in (
        (erasing.erase("ann", "bob"), OwnersOnly),
        (erasing.erase("ann", "ann"), LastOwner),
        (erasing.erase("eve", "bob", UserId(uuid7())), InvalidHandOver),
    ):
        with pytest.raises(error):
            await refused
    await erasing.erase("eve", "bob", erasing.people.users["ann"].id)
    (removed,) = await erasing.told(UserRemoved)
    assert removed.hand_over_to == erasing.people.users["ann"].id
    with pytest.raises(UserNotFound):
        await erasing.erase("eve")
    await erasing.erase("bob", "bob")


async def test_erasure_over_http(auth: Any) -> None:
    owner, member, _ = [
        {"Authorization": f"Bearer {(await auth.tokens_of(f'{name}@example.com'))['access_token']}"}
        for name in ("ann", "ben", "cat")
    ]
    listed = (await auth.http.get("/v1/users", headers=owner)).json()["items"]
    ids = {user["email"][:3]: user["id"] for user in listed}
    path = {name: f"/v1/users/{user}/erase" for name, user in ids.items()}
    assert (await auth.http.post(path["ann"], headers=member)).json()["code"] == "not_allowed"
    assert (await auth.http.post(path["ann"], headers=owner)).json()["code"] == "last_owner"
    once = {"Idempotency-Key": "once"}
    first = await auth.http.post(path["ben"], headers=owner | once)
    assert (first.status_code, first.json()["user_id"], first.json()["finished_at"]) == (202, ids["ben"], None)
    again = await auth.http.post(path["ben"], headers=owner | once)
    assert (again.status_code, again.content) == (202, first.content)
    other = await auth.http.post(path["ben"], params={"hand_over_to": ids["cat"]}, headers=owner | once)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert (await auth.http.post(path["ben"], headers=owner)).json()["code"] == "user_not_found"
    receipt = await auth.http.get(f"/v1/users/{ids['ben']}/receipt", headers=owner)
    assert (receipt.status_code, receipt.json()["begun_at"]) == (200, first.json()["begun_at"])
    missing = await auth.http.get(f"/v1/users/{ids['cat']}/receipt", headers=owner)
    assert (missing.status_code, missing.json()["code"]) == (404, "erasure_not_found")
    # who may erase others may erase themselves, with a key as well, which goes along
    await auth.http.patch(f"/v1/users/{ids['cat']}", json={"role": "admin"}, headers=owner)
    admin = {"Authorization": f"Bearer {(await auth.tokens_of('cat@example.com'))['access_token']}"}
    own = await auth.http.post(path["cat"], headers=admin | once)
    assert (own.status_code, own.json()["user_id"]) == (202, ids["cat"])
    rows = await auth.query("SELECT subject FROM auth.idempotent_requests")
    assert not [row for row in rows if ids["cat"] in row["subject"]]
    # what the gateway asks before it exports somebody
    inside = {"X-Internal-Token": auth.environment["INTERNAL_TOKEN"]}
    for user, status in (("ann", 204), ("cat", 404)):
        found = await auth.http.get(f"/internal/tenants/1/users/{ids[user]}", headers=inside)
        assert found.status_code == status
    assert (await auth.http.get(f"/internal/tenants/2/users/{ids['ann']}", headers=inside)).status_code == 404
    assert (await auth.http.get(f"/internal/tenants/1/users/{ids['ann']}", headers=owner)).status_code in {401, 403}
