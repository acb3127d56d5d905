"""Tenants are deleted after a time of grace, wholly, and a receipt says what became of them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from docuchat_auth.adapters.mail import notice_message, receipt_message
from docuchat_auth.audit.service import AuditLog
from docuchat_auth.codes.domain import GuessBudget
from docuchat_auth.lifecycle.domain import OwnersNotice, Receipt
from docuchat_auth.lifecycle.errors import ErasureBegun, ReceiptNotFound, SlugMismatch
from docuchat_auth.lifecycle.service import Deletion, Notices
from docuchat_auth.logins.attempts import Attempts
from docuchat_auth.mail import MailRefused
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.second_factors.devices import KnownDevices
from docuchat_auth.tenant_erasure import make_erasure
from docuchat_auth.tenants.errors import TenantNotFound, TenantTaken
from docuchat_common.acts import Act, acting
from docuchat_common.audit import entry
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import AuditRecorded, TenantDeleted, TenantErased
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.rate_limits import RateLimiter
from docuchat_testkit.leftovers import rows_of

from .test_members import People
from .test_operators import TENANTS, bearer, make

GRACE = timedelta(days=7)
OPERATOR = Caller(NO_TENANT, "operator", uuid7())


class LosesAnswers:
    """A unit of work whose system transactions take place; of one of them nobody hears."""

    def __init__(self, uow: Any) -> None:
        self.uow, self.lost, self.ended = uow, 0, 0

    @asynccontextmanager
    async def system(self) -> AsyncIterator[Any]:
        async with self.uow.system() as tx:
            yield tx
        self.ended += 1
        if self.ended == self.lost:
            raise UpstreamUnavailable

    async def repeat(self, work: Callable[[], Awaitable[object]]) -> int:
        """Do it until it hears of everything, a later transaction lost each time; how often it was begun."""
        while True:
            self.lost, self.ended = self.lost + 1, 0
            with suppress(UpstreamUnavailable):
                await work()
                return self.lost


class NoDeadLetters:
    async def discard_of(self, _: TenantId) -> int:
        return 0


@dataclass
class Mails:
    sent: list[tuple[Receipt, str]] = field(default_factory=list)
    notices: list[OwnersNotice] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    tries: list[str] = field(default_factory=list)

    async def send_receipt(self, receipt: Receipt, address: str) -> None:
        self.tries.append(address.partition("@")[0])
        if address in self.failures:
            raise self.failures[address]
        self.sent.append((receipt, address))

    async def send_notice(self, notice: OwnersNotice) -> None:
        self.notices.append(notice)


@dataclass
class Ending:
    """A tenant of ann's, who owns it, bob and eve, and what ends it."""

    people: People
    deletion: Deletion
    erasure: Any
    log: AuditLog
    mails: Mails

    @property
    def world(self) -> Any:
        return self.people.world

    @property
    def tenant(self) -> Any:
        return self.people.tenant

    async def ask(self, name: str = "ann", slug: str = "demo") -> Any:
        return await self.deletion.ask(self.tenant.id, slug, self.people.caller(name))

    async def state(self) -> str | None:
        page = await self.world.revisions.list_after(None)
        return next((str(item.state) for item in page.items if item.kind == "tenant"), None)

    async def told(self, kind: Any) -> list[Any]:
        return [event for event in await self.world.events() if isinstance(event, kind)]

    async def pass_the_grace(self) -> None:
        self.world.clock.advance(days=7, seconds=1)
        await self.deletion.begin_due()

    async def finish(self) -> None:
        """What every service says, auth's own as it said it."""
        await self.erasure.go_on()
        events: Sequence[TenantErased] = await self.told(TenantErased)
        for service in ("chat", "ingest", "usage"):
            said = TenantErased(tenant_id=self.tenant.id, service=service, erased={"rows": 3}, kept={})
            events = [*events, said, said.model_copy(update={"erased": {"rows": 0}})]
        for event in events:
            await self.deletion.note(event)

    async def left(self) -> dict[str, int]:
        return await rows_of(self.world.admin, self.tenant.id)


@pytest.fixture
async def ending(make_world: Any) -> Ending:
    world = await make_world()
    people = await People(world).join()
    log, mails = AuditLog(world.uow), Mails()
    office = cast(DeadLetterOffice, NoDeadLetters())
    return Ending(
        people,
        Deletion(world.uow, world.revisions, mails, Notices(world.uow, mails.send_notice), world.clock, GRACE),
        make_erasure(world.uow, log, world.codes._client, office),
        log,
        mails,
    )


async def test_an_owner_asks_by_the_slug_and_nobody_else_may(ending: Ending) -> None:
    for refused, error in (
        (ending.ask("bob"), OwnersOnly),
        (ending.ask("eve"), OwnersOnly),
        (ending.deletion.ask(ending.tenant.id, "demo", ending.people.caller("ann", "key")), OwnersOnly),
        (ending.ask(slug="dem"), SlugMismatch),
        (ending.deletion.ask(TenantId(99), "demo", OPERATOR), TenantNotFound),
        (ending.deletion.take_back(ending.tenant.id, ending.people.caller("bob")), OwnersOnly),
    ):
        with pytest.raises(error):
            await refused
    assert await ending.state() is None
    asked = await ending.ask()
    ending.world.clock.advance(days=1)
    again = await ending.deletion.ask(ending.tenant.id, "demo", OPERATOR)
    (notice,) = ending.mails.notices
    assert (notice.to, notice.at, notice.retention) == ("ann@example.com", asked.deletes_at, None)
    assert "docuchat tenant restore" in notice_message(notice, "DocuChat <no-reply@example.com>").get_content()
    assert (asked.state, asked.deletes_at) == ("deleting", again.deletes_at)
    assert await ending.state() == "deleting"


async def test_until_the_grace_is_over_it_is_taken_back_as_it_was(ending: Ending) -> None:
    tenants = ending.world.tenants
    await tenants.set_suspended(ending.tenant.id, is_suspended=True)
    await ending.ask()
    await tenants.set_suspended(ending.tenant.id, is_suspended=True)
    assert await ending.state() == "deleting", "a suspension does not hide it"
    ending.world.clock.advance(days=6, hours=23)
    await ending.deletion.begin_due()
    assert await ending.told(TenantDeleted) == []
    back = await ending.deletion.take_back(ending.tenant.id, ending.people.caller("ann"))
    assert (back.state, back.deletes_at, await ending.state()) == ("suspended", None, "suspended")
    await tenants.set_suspended(ending.tenant.id, is_suspended=False)
    ending.world.clock.advance(days=30)
    await ending.deletion.begin_due()
    assert await ending.told(TenantDeleted) == []
    assert await ending.state() == "active"


async def test_everything_goes_but_what_the_receipt_names(ending: Ending) -> None:
    world, tenant = ending.world, ending.tenant
    other = await world.tenant("other")
    await world.sign_in_as(other, "zoe@example.com")
    await world.ask(tenant, "ann@example.com")
    with acting(Act("user.change", lambda: "192.0.2.1")):
        acts = [entry(ending.people.caller(name), "user.change", uuid7()) for name in ("ann", "bob", "eve")]
    await ending.log.book(acts)
    attempts = Attempts(world.codes._client, cast(RateLimiter, None), GuessBudget(5, 100), ())
    (ann, *_) = await world.users()
    await attempts.remember(f"{tenant.id}:by-name", "a device", ann)
    await KnownDevices(world.codes._client).remember(ann, "a device", world.clock.now())
    of_other = await rows_of(world.admin, other.id)
    await ending.ask()
    for _ in range(2):
        await ending.pass_the_grace()
    with pytest.raises(ErasureBegun):
        await ending.deletion.take_back(tenant.id, ending.people.caller("ann"))
    assert len(await ending.told(TenantDeleted)) == 1
    assert await ending.state() == "deleted"
    for _ in range(2):
        await ending.finish()

    (own,) = await ending.told(TenantErased)
    left = await ending.left()
    assert left.keys() - own.kept.keys() - {f"auth.{name}" for name in own.kept} == {
        "auth.erased_tenants",
        "auth.outbox",
    }
    assert (own.erased["users"], own.erased["tenants"], own.erased["addresses_in_the_audit_log"]) == (3, 1, 3)
    assert await rows_of(world.admin, other.id) == of_other
    assert [key async for key in world.codes._client.scan_iter(match=f"auth:*:{tenant.id}:*")] == []
    found = await ending.log.verify(tenant.id, 0)
    assert (found.checked, found.breaks) == (3, ())
    addresses = "SELECT address, address_salt FROM auth.audit_entries WHERE chain = $1"
    assert {tuple(row) for row in await world.admin.fetch(addresses, tenant.id)} == {(None, None)}
    with acting(Act("user.change", lambda: "192.0.2.1")):
        await ending.log.book([entry(ending.people.caller("ann"), "user.change", uuid7())])
    assert (await ending.log.verify(tenant.id, 0)).checked == 3, "what comes late is not kept"
    # the number is never used again; the slug may be
    with pytest.raises(TenantTaken):
        await world.tenants.create("new", "New", tenant_id=tenant.id, signup=tenant.signup)
    assert (await world.tenant()).id != tenant.id


async def test_what_is_erased_is_counted_whatever_is_not_heard_of(ending: Ending) -> None:
    with acting(Act("user.change", lambda: "192.0.2.1")):
        await ending.log.book([entry(ending.people.caller("ann"), "user.change", uuid7())])
    await ending.ask()
    await ending.pass_the_grace()
    losing = LosesAnswers(ending.world.uow)
    office = cast(DeadLetterOffice, NoDeadLetters())
    erasure = make_erasure(cast(Any, losing), AuditLog(cast(Any, losing)), ending.world.codes._client, office)
    assert await losing.repeat(lambda: erasure.erase(ending.tenant.id)) > 4
    (own,) = await ending.told(TenantErased)
    counted = {name: own.erased[name] for name in ("users", "tenants", "addresses_in_the_audit_log")}
    assert counted == {"users": 3, "tenants": 1, "addresses_in_the_audit_log": 1}


async def test_the_receipt_is_complete_when_all_have_spoken_and_is_mailed_once(ending: Ending) -> None:
    with pytest.raises(ReceiptNotFound):
        await ending.deletion.get_receipt(str(ending.tenant.id))
    await ending.ask()
    await ending.pass_the_grace()
    begun = await ending.deletion.get_receipt(str(ending.tenant.customer_id))
    assert (begun.finished_at, begun.waiting_for) == (None, ["auth", "chat", "ingest", "usage"])
    await ending.deletion.mail()
    assert ending.mails.sent == []
    await ending.finish()
    for _ in range(2):
        await ending.deletion.mail()
    ((_, address),) = ending.mails.sent
    assert address == "ann@example.com"
    done = await ending.deletion.get_receipt(str(ending.tenant.id))
    assert (done.finished_at, done.waiting_for) == (ending.world.clock.now(), [])
    assert done.parts["chat"].erased == {"rows": 3}, "what was said first"
    text = receipt_message(done, "ann@example.com", "DocuChat <no-reply@example.com>").get_content()
    assert "3 users" in text and "audit entries" in text
    assert await ending.world.admin.fetchval("SELECT mail_to FROM auth.tenant_receipts") == []
    assert "ann" not in str(done)


async def test_a_receipt_is_mailed_until_its_owner_has_it_and_for_some_days_at_most(ending: Ending) -> None:
    mails, clock = ending.mails, ending.world.clock
    await ending.world.admin.execute("UPDATE auth.users SET role = 'owner'")
    await ending.ask()
    await ending.pass_the_grace()
    await ending.finish()
    mails.failures = {"ann@example.com": MailRefused(), "bob@example.com": ValueError()}

    async def waiting() -> set[str]:
        for _ in range(2):  # at once again nobody is tried
            await ending.deletion.mail()
        left: list[str] = await ending.world.admin.fetchval("SELECT mail_to FROM auth.tenant_receipts")
        return {address.partition("@")[0] for address in left}

    assert (await waiting(), sorted(mails.tries)) == ({"ann", "bob"}, ["ann", "bob", "eve"])
    del mails.failures["ann@example.com"]
    clock.advance(hours=1)
    assert (await waiting(), [address for _, address in mails.sent]) == (
        {"bob"}, ["eve@example.com", "ann@example.com"],
    )  # fmt: skip
    clock.advance(days=5)
    assert (await waiting(), mails.tries.count("bob"), len(mails.sent)) == (set(), 3, 2)


async def test_who_does_it_is_in_the_log(ending: Ending) -> None:
    await ending.ask()
    await ending.deletion.take_back(ending.tenant.id, OPERATOR)
    await ending.ask()
    await ending.pass_the_grace()
    written = [(event.subject_type, event.action) for event in await ending.told(AuditRecorded)][-4:]
    assert written == [
        ("user", "tenant.delete"),
        ("operator", "tenant.restore"),
        ("user", "tenant.delete"),
        ("command", "tenant.erase"),
    ]


async def test_deletion_over_http(auth: Any) -> None:
    operator = await bearer(auth, await make(auth))
    await auth.http.post(TENANTS, json={"slug": "acme", "name": "Acme", "owner": "ann@example.com"}, headers=operator)
    owner = {"Authorization": f"Bearer {(await auth.tokens_of('ann@example.com', 'acme'))['access_token']}"}
    assert (await auth.http.delete("/v1/tenant", headers=owner)).status_code == 422
    wrong = await auth.http.delete("/v1/tenant", params={"confirm": "demo"}, headers=owner)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "slug_mismatch")
    asked = await auth.http.delete("/v1/tenant", params={"confirm": "acme"}, headers=owner)
    assert (asked.status_code, asked.json()["state"]) == (202, "deleting")
    assert asked.json()["deletes_at"] is not None
    assert (await auth.http.post("/v1/tenant/restore", headers=owner)).json()["state"] == "active"
    by_operator = await auth.http.delete(f"{TENANTS}/acme", params={"confirm": "acme"}, headers=operator)
    assert by_operator.status_code == 202
    listed = (await auth.http.get(TENANTS, headers=operator)).json()["items"]
    assert [tenant["slug"] for tenant in listed if tenant["deletes_at"]] == ["acme"]
    assert (await auth.http.post(f"{TENANTS}/acme/restore", headers=operator)).json()["deletes_at"] is None
    missing = await auth.http.get(f"{TENANTS}/acme/receipt", headers=operator)
    assert (missing.status_code, missing.json()["code"]) == (404, "receipt_not_found")
