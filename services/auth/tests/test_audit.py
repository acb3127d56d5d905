"""The audit log: each act once, in a chain that shows what was changed, and nobody's to change."""

import asyncio
import csv
import io
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from services.auth.tests.conftest import World
from services.auth.tests.test_operators import bearer, make

from docuchat_auth.audit.domain import Entry, Filter, Head, Link, breaks_in, hash_of
from docuchat_auth.audit.schemas import CSV_COLUMNS, csv_line
from docuchat_auth.audit.service import AuditLog
from docuchat_common.audit import entry
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.eventually import eventually

AT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
ACT = Entry(
    TenantId(7), UUID(int=1), AT, 7, "user", UUID(int=2), "document.delete", "document", "d", "done", "192.0.2.1",
    "r", None,
)  # fmt: skip


def chain_of(*entries: Entry) -> list[Link]:
    head, links = Head(), list[Link]()
    for one in entries:
        links.append(Link.after(head, one))
        head = Head(links[-1].seq, links[-1].hash)
    return links


def acts(tenant: int, count: int, **changes: Any) -> list[AuditRecorded]:
    caller = Caller(TenantId(tenant), "user", uuid7())
    return [entry(caller, "chat.create", number, **changes) for number in range(count)]


def test_the_hash_of_an_entry_is_the_same_for_ever() -> None:
    assert hash_of(1, ACT, bytes(32), None).hex() == "eb51185e4c48ed417462966f9bf9d7f63f2cd6dac1a9e0142708e608131e74ff"
    in_another_zone = replace(ACT, at=AT.astimezone(tz=None))
    assert hash_of(1, in_another_zone, bytes(32), None) == hash_of(1, ACT, bytes(32), None)


@pytest.mark.parametrize(
    "change",
    [
        {"chain": TenantId(8)}, {"event_id": UUID(int=9)}, {"at": AT + timedelta(microseconds=1)}, {"tenant_id": 8},
        {"subject_type": "key"}, {"subject_id": None}, {"action": "document.add"}, {"object_type": "chat"},
        {"object_id": None}, {"result": "refused"}, {"address": None}, {"request_id": "s"}, {"detail": ""},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_no_field_of_an_entry_can_be_changed_unseen(change: dict[str, Any]) -> None:
    links = chain_of(ACT, replace(ACT, event_id=UUID(int=3)), replace(ACT, event_id=UUID(int=4)))
    links[1] = replace(links[1], entry=replace(links[1].entry, **change))
    assert [found.seq for found in breaks_in(links, Head())] == [2]


def test_an_entry_that_is_gone_added_or_moved_shows() -> None:
    links = chain_of(*(replace(ACT, event_id=UUID(int=number)) for number in range(1, 6)))
    assert list(breaks_in(links, Head())) == []
    assert [found.reason for found in breaks_in([links[0], *links[2:]], Head())] == ["entries 2 to 2 are missing"]
    assert [found.seq for found in breaks_in(links[1:], Head())] == [2]
    forged = Link.after(Head(2, bytes(32)), replace(ACT, event_id=UUID(int=99)))
    assert [found.seq for found in breaks_in([*links[:2], forged, *links[3:]], Head())] == [3, 4]
    rewritten = chain_of(links[0].entry, replace(ACT, event_id=UUID(int=99)))
    assert [found.seq for found in breaks_in([*rewritten, *links[2:]], Head())] == [3], "what follows tells"


async def test_each_act_is_booked_once_by_however_many_at_once(make_world: Callable[..., Awaitable[World]]) -> None:
    world = await make_world()
    log = AuditLog(world.uow)
    events = [event for tenant in (1, 2, 3) for event in acts(tenant, 20)]
    events.append(entry(Caller(NO_TENANT, "operator", uuid7()), "tenant.change", 3, tenant_id=TenantId(3)))
    batches: list[Sequence[AuditRecorded]] = []
    for _ in range(12):  # each event comes several times, in batches that cross
        shuffled = random.sample(events, len(events))
        batches += [shuffled[start : start + 16] for start in range(0, len(shuffled), 16)]

    await asyncio.gather(*map(log.book, batches))

    for chain, count in ((1, 20), (2, 20), (3, 20), (0, 1)):
        found = await log.verify(TenantId(chain), 0)
        assert (found.checked, found.head.seq, found.breaks, found.is_whole) == (count, count, (), True)
    booked = await world.admin.fetch("SELECT event_id FROM auth.audit_entries")
    assert sorted(row["event_id"] for row in booked) == sorted(event.id for event in events)


async def test_no_role_of_the_services_can_change_or_delete_an_entry(
    make_world: Callable[..., Awaitable[World]], database: ClonedDatabase
) -> None:
    world = await make_world()
    await AuditLog(world.uow).book([*acts(1, 2), *acts(2, 1)])
    rights = await world.admin.fetch(
        "SELECT r.rolname, p.privilege FROM pg_roles r CROSS JOIN unnest(ARRAY['UPDATE', 'DELETE', 'TRUNCATE']) "
        "AS p (privilege) WHERE r.rolname LIKE 'docuchat\\_%' AND NOT r.rolsuper AND r.rolname <> 'docuchat_owner' "
        "AND has_table_privilege(r.oid, 'auth.audit_entries', p.privilege)"
    )
    assert rights == []
    for role in ("docuchat_auth", "docuchat_auth_system"):
        async with database.connect(role) as connection:
            for statement in ("UPDATE auth.audit_entries SET action = 'x'", "DELETE FROM auth.audit_entries"):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(statement)
    async with world.uow(TenantId(1)) as tx:
        assert len(await tx.audit.list_before(TenantId(1), None, Filter(), 10)) == 2
        assert await tx.audit.list_before(TenantId(2), None, Filter(), 10) == []


async def test_what_an_administrator_of_the_database_changes_shows(
    make_world: Callable[..., Awaitable[World]],
) -> None:
    world = await make_world()
    log = AuditLog(world.uow)
    await log.book(acts(1, 9))
    await world.admin.execute("UPDATE auth.audit_entries SET action = 'chat.read' WHERE seq = 3")
    await world.admin.execute("DELETE FROM auth.audit_entries WHERE seq BETWEEN 5 AND 6")
    found = await log.verify(TenantId(1), 0)
    assert [(one.seq, one.reason) for one in found.breaks] == [
        (3, "it was changed"), (7, "entries 5 to 6 are missing"),
    ]  # fmt: skip
    assert (await log.verify(TenantId(1), 7)).breaks == ()


async def test_an_admin_reads_filters_pages_and_saves_the_log_of_the_tenant(auth: Any) -> None:
    owner = {"Authorization": f"Bearer {(await auth.tokens_of('ann@example.com'))['access_token']}"}
    member = {"Authorization": f"Bearer {(await auth.tokens_of('bob@example.com'))['access_token']}"}
    await auth.tokens_of("bob@example.com")
    await auth.create_tenant("other")
    stranger = {"Authorization": f"Bearer {(await auth.tokens_of('eve@example.com', 'other'))['access_token']}"}

    async def read(headers: dict[str, str] = owner, **params: Any) -> Any:
        answer = await auth.http.get("/v1/audit", headers=headers, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def booked() -> None:
        assert [item["action"] for item in (await read())["items"]] == ["session.start"] * 3
        assert len((await read(stranger))["items"]) == 1

    await eventually(booked)
    latest, second, first = (await read())["items"]
    assert [item["seq"] for item in (latest, second, first)] == [3, 2, 1]
    assert latest["actor_id"] == second["actor_id"] != first["actor_id"]
    assert (latest["result"], latest["address"], latest["tenant_id"]) == ("done", "127.0.0.1", 1)
    assert "example.com" not in str(latest), "no address of mail"
    assert (await read(actor=first["actor_id"]))["items"] == [first]
    by_address = await auth.http.get("/v1/audit", headers=owner, params={"actor": "ann@example.com"})
    assert by_address.status_code == 422 and "must be the id of a user, key or operator" in by_address.text
    assert (await read(action="session.start", object=f"session:{first['object_id']}"))["items"] == [first]
    assert (await read(action="chat.ask"))["items"] == (await read(object="document"))["items"] == []
    assert (await read(to=first["at"]))["items"] == []
    assert (await read(**{"from": second["at"]}))["items"] == [latest, second]
    page = await read(limit=2)
    assert page["items"] == [latest, second]
    assert (await read(limit=2, cursor=page["next_cursor"]))["items"] == [first]

    refused = await auth.http.get("/v1/audit", headers=member)
    assert (refused.status_code, refused.json()["code"]) == (403, "not_allowed")
    saved = await auth.http.get("/v1/audit", headers=owner | {"Accept": "text/csv"}, params={"limit": 1})
    assert saved.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(saved.text)))
    assert [row["seq"] for row in rows] == ["3", "2", "1"], "all of it"
    assert rows[0].keys() == set(CSV_COLUMNS)


async def test_what_operators_and_commands_do_is_in_the_log_of_the_installation(auth: Any) -> None:
    headers = await bearer(auth, await make(auth))
    await auth.http.post(
        "/v1/operator/tenants", json={"slug": "acme", "name": "Acme", "owner": "ann@example.com"}, headers=headers
    )
    found: list[dict[str, Any]] = []

    async def booked() -> None:
        answer = await auth.http.get("/v1/operator/audit", headers=headers)
        found[:] = reversed(answer.json()["items"])
        assert len(found) == 3

    await eventually(booked)
    assert [(item["actor_type"], item["action"]) for item in found] == [
        ("command", "tenant.create"), ("operator", "operator.sign_in"), ("operator", "tenant.create"),
    ]  # fmt: skip
    assert [item["tenant_id"] for item in found] == [1, 0, 2]
    verified = (await auth.http.get("/v1/operator/audit/verify", headers=headers)).json()
    assert (verified["holds"], verified["checked"], verified["head_hash"]) == (True, 3, found[-1]["hash"])
    await auth.query("UPDATE auth.audit_entries SET address = '192.0.2.9' WHERE seq = 2")
    broken = (await auth.http.get("/v1/operator/audit/verify", headers=headers)).json()
    assert (broken["holds"], broken["breaks"]) == (False, [{"seq": 2, "reason": "it was changed"}])
    empty = await auth.http.get("/v1/operator/audit/verify", params={"tenant": "acme"}, headers=headers)
    assert (empty.json()["holds"], empty.json()["checked"]) == (True, 0)
    assert (await auth.http.get("/v1/operator/audit/verify?tenant=nobody", headers=headers)).status_code == 404
    owner = {"Authorization": f"Bearer {(await auth.tokens_of('ann@example.com', 'acme'))['access_token']}"}
    assert (await auth.http.get("/v1/operator/audit", headers=owner)).status_code == 403


def test_a_spreadsheet_finds_no_formula() -> None:
    assert csv_line(["=1+1", "@x", "a,b", ""]) == b"'=1+1,'@x,\"a,b\",\r\n"


async def test_what_is_older_is_forgotten_from_the_beginning_and_the_rest_still_proves_itself(
    make_world: Callable[..., Awaitable[World]],
) -> None:
    world = await make_world()
    log = AuditLog(world.uow)
    old, young = acts(1, 1200), acts(1, 5)
    moment = datetime.now(UTC) - timedelta(days=500)
    await log.book([event.model_copy(update={"time": moment + timedelta(seconds=n)}) for n, event in enumerate(old)])
    await log.book(young[:2])
    await log.book(
        [event.model_copy(update={"time": moment}) for event in acts(1, 3)]
    )  # behind a younger one: it waits
    await log.book([event.model_copy(update={"time": moment}) for event in acts(2, 2)])
    kept_head = (await log.verify(TenantId(1), 1200)).head
    assert await log.forget(timedelta(days=400)) == 1201, "of the second chain the last entry stays"
    assert await log.forget(timedelta(days=400)) == 0

    found = await log.verify(TenantId(1), 0)
    assert (found.checked, found.breaks, found.is_whole, found.head) == (5, (), True, kept_head)
    await log.book(young[2:])
    assert ((await log.verify(TenantId(1), 0)).checked, (await log.verify(TenantId(1), 700)).breaks) == (8, ())
    assert [(await log.verify(TenantId(2), 0)).checked, (await log.verify(TenantId(2), 0)).breaks] == [1, ()]
    await world.admin.execute("DELETE FROM auth.audit_entries WHERE chain = 1 AND seq = 1201")
    (gap,) = (await log.verify(TenantId(1), 0)).breaks
    assert gap.reason == "entries 1201 to 1201 are missing", "more than the anchor says"


async def test_no_role_forgets_what_is_young_or_strips_a_tenant_that_lives(
    make_world: Callable[..., Awaitable[World]], database: ClonedDatabase
) -> None:
    world = await make_world()
    await AuditLog(world.uow).book(acts(1, 3))
    async with database.connect("docuchat_auth_system") as connection:
        with pytest.raises(asyncpg.RaiseError):
            await connection.execute("SELECT auth.forget_audit_v1(1, interval '29 days', 100)")
        assert await connection.fetchval("SELECT auth.strip_audit_v1(1, 100)") == 0
        for statement in (
            "SELECT auth.cut_audit_v1(1, 3)",
            "UPDATE auth.audit_anchors SET seq = 9",
            "INSERT INTO auth.audit_anchors VALUES (1, 1, '', now())",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    async with database.connect("docuchat_auth") as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("SELECT auth.forget_audit_v1(1, interval '400 days', 100)")
    assert (await AuditLog(world.uow).verify(TenantId(1), 0)).checked == 3


async def test_entries_of_before_addresses_were_apart_go_with_their_tenant(
    make_world: Callable[..., Awaitable[World]],
) -> None:
    world = await make_world()
    log, head = AuditLog(world.uow), Head()
    for number in range(1, 4):
        one = replace(ACT, event_id=UUID(int=number))
        link = Link(number, one, head.hash, hash_of(number, one, head.hash, None))
        async with world.uow.system() as tx:
            await tx.audit.add([link])
        head = Head(number, link.hash)
    await log.book(acts(7, 2))
    assert ((await log.verify(TenantId(7), 0)).checked, (await log.verify(TenantId(7), 0)).breaks) == (5, ())
    await world.admin.execute("INSERT INTO auth.erased_tenants (tenant_id) VALUES (7)")
    await log.strip(TenantId(7))
    found = await log.verify(TenantId(7), 0)
    assert (found.checked, found.breaks, found.head.seq) == (2, (), 5)
    assert await world.admin.fetchval("SELECT count(*) FROM auth.audit_entries WHERE address IS NOT NULL") == 0
