"""An operation that is in the audit log writes exactly one entry, or says that it changed nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import SimpleNamespace

import httpx2
import pytest
import pytest_asyncio
from fastapi import APIRouter, FastAPI, Request

from docuchat_common.acts import current_act, excuse_act
from docuchat_common.audit import EXTENSION, AuditMismatch, audited, entry
from docuchat_common.db import UnitOfWork
from docuchat_common.errors import Unauthenticated, UpstreamUnavailable
from docuchat_common.events.catalogue import AuditRecorded, parse_event
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import install_problem_handlers
from docuchat_common.http.refusals import Refusals
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.messaging.outbox import Outbox
from docuchat_testkit.databases import ClonedDatabase

ANN = Caller(TenantId(1), "user", uuid7())


@dataclass(frozen=True)
class Tx:
    outbox: Outbox


@pytest_asyncio.fixture
async def uow(database: ClonedDatabase) -> AsyncIterator[UnitOfWork[Tx]]:
    async with database.open("usage") as opened:
        yield UnitOfWork(opened, lambda _, outbox, __: Tx(outbox), schema="usage")


def app_of(uow: UnitOfWork[Tx], environment: str = "test") -> FastAPI:
    router = APIRouter(route_class=JsonRoute)

    @router.post("/things/{entries}")
    @audited("thing.make")
    async def make(entries: int, name: str = "thing.make", excused: int = 0, fails: int = 0, lost: int = 0) -> int:
        if lost:
            with suppress(UpstreamUnavailable):
                async with uow(TenantId(1)) as tx:
                    tx.outbox.add(entry(ANN, name))
                    await tx.outbox.flush()
                    raise UpstreamUnavailable  # as a COMMIT that has no answer
        for _ in range(entries):
            async with uow(TenantId(1)) as tx:
                tx.outbox.add(entry(ANN, name, "7"))
        if fails:
            async with uow(TenantId(1)) as tx:
                tx.outbox.add(entry(ANN, name))
                raise LookupError
        if excused:
            excuse_act()
        return entries

    app = FastAPI()
    app.include_router(router)
    settings = SimpleNamespace(environment=environment, internal_token=None)
    app.state.container = SimpleNamespace(settings=settings)
    return app


async def post(app: FastAPI, path: str) -> int:
    transport = httpx2.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
        return (await client.post(path)).status_code


async def test_a_success_writes_exactly_one_entry_or_says_why_not(uow: UnitOfWork[Tx]) -> None:
    app = app_of(uow)
    assert app.openapi()["paths"]["/things/{entries}"]["post"][EXTENSION] == "thing.make"
    for path in ("/things/1", "/things/0?excused=1", "/things/1?excused=1"):
        assert await post(app, path) == 200
    for path in ("/things/0", "/things/2", "/things/1?name=thing.lose", "/things/2?excused=1"):
        with pytest.raises(AuditMismatch):
            await post(app, path)
        assert await post(app_of(uow, "production"), path) == 200, "users are served all the same, and it is logged"
    with pytest.raises(LookupError):
        await post(app, "/things/0?fails=1")
    assert current_act() is None


async def test_what_is_repeated_because_a_commit_had_no_answer_is_no_mismatch(uow: UnitOfWork[Tx]) -> None:
    for path in ("/things/0?lost=1", "/things/1?lost=1"):
        assert await post(app_of(uow), path) == 200
    with pytest.raises(AuditMismatch):
        await post(app_of(uow), "/things/1?lost=1&name=thing.lose")


async def test_an_entry_says_who_did_what_from_where(uow: UnitOfWork[Tx], database: ClonedDatabase) -> None:
    assert await post(app_of(uow), "/things/1") == 200
    async with database.connect() as admin:
        event = parse_event(await admin.fetchval("SELECT body FROM usage.outbox"))
    assert isinstance(event, AuditRecorded)
    assert event.model_dump(exclude={"id", "time"}) == {
        "tenant_id": 1, "subject_type": "user", "subject_id": ANN.subject_id, "action": "thing.make",
        "object_type": "thing", "object_id": "7", "result": "done", "address": "192.0.2.7", "request_id": None,
        "detail": None,
    }  # fmt: skip


def test_what_no_request_does_is_a_commands() -> None:
    event = entry(None, "tenant.create", 3, tenant_id=TenantId(3), detail="by hand")
    assert (event.subject_type, event.subject_id, event.tenant_id, event.address) == ("command", None, 3, None)
    assert entry(ANN, "queue.empty", "a\x00" + 300 * "b").object_id == "a" + 199 * "b"


class Verifier:
    """Knows one token."""

    async def identify(self, token: str) -> SimpleNamespace:
        if token != "ann":
            raise Unauthenticated
        return SimpleNamespace(caller=ANN)


async def test_who_is_signed_in_and_refused_is_in_the_log_once_a_minute(
    uow: UnitOfWork[Tx], database: ClonedDatabase
) -> None:
    now = [0.0]
    refusals = Refusals(uow, elapsed=lambda: now[0])
    router = APIRouter(route_class=JsonRoute)

    @router.delete("/things/{thing}")
    async def delete(thing: int) -> None:
        raise NotAllowed

    app = FastAPI()
    app.include_router(router)
    install_problem_handlers(app)
    app.state.container = SimpleNamespace(refusals=refusals, verifier=Verifier(), settings=None)

    async def refused(thing: int, token: str = "ann") -> None:
        transport = httpx2.ASGITransport(app, client=("192.0.2.7", 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            answer = await client.delete(f"/things/{thing}", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 403

    async def entries() -> list[AuditRecorded]:
        await refusals.write()
        async with database.connect() as admin:
            bodies = await admin.fetch("SELECT body FROM usage.outbox ORDER BY id")
        found = [parse_event(row["body"]) for row in bodies]
        return [event for event in found if isinstance(event, AuditRecorded)]

    for thing in range(3):
        await refused(thing)
    await refused(1, "a stranger's")
    (written,) = await entries()
    assert (written.subject_id, written.action, written.object_id) == (
        ANN.subject_id, "access.deny", "DELETE /things/{thing}",
    )  # fmt: skip
    assert (written.result, written.address) == ("refused", "192.0.2.7")
    now[0] = 59.9
    await refused(1)
    assert len(await entries()) == 1
    now[0] = 60.1
    await refused(1)
    assert len(await entries()) == 2


async def test_a_refusal_waits_for_a_database_that_is_away(uow: UnitOfWork[Tx], database: ClonedDatabase) -> None:
    is_away = True

    @asynccontextmanager
    async def transactions(tenant_id: TenantId) -> AsyncIterator[Tx]:
        if is_away:
            raise UpstreamUnavailable
        async with uow(tenant_id) as tx:
            yield tx

    refusals = Refusals(transactions)
    request = Request({"type": "http", "method": "GET", "headers": [], "client": ("192.0.2.7", 1)})
    refusals.note(request, ANN, "/a")
    refusals.note(request, ANN, "/b")
    await refusals.write()
    is_away = False
    await refusals.write()
    await refusals.write()
    async with database.connect() as admin:
        assert await admin.fetchval("SELECT count(*) FROM usage.outbox") == 2
