"""Domains are proven by who can write their DNS, to name servers that speak the real protocol."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from docuchat_auth.adapters.name_servers import NameServers, parse_name_server
from docuchat_auth.domains.domain import MOST_DOMAINS, OwnedDomain
from docuchat_auth.domains.errors import (
    DnsUnavailable,
    DomainInUse,
    DomainKnown,
    DomainNotFound,
    DomainNotProven,
    DomainTaken,
    InvalidDomain,
    TooManyDomains,
)
from docuchat_auth.domains.service import Domains, require_proven, unproven
from docuchat_auth.operators.service import DomainRelease
from docuchat_auth.tenants.domain import SignUp, SignUpMode, Tenant
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.http.caller import Caller
from docuchat_common.ids import uuid7

from .conftest import World


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """A name server on this machine."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    is_broken: bool = False
    address: str = ""
    _transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.address = "{}:{}".format(*transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        question = dns.message.from_wire(data)
        answer = dns.message.make_response(question)
        name = question.question[0].name.to_text(omit_final_dot=True)
        if self.is_broken:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif name not in self.texts:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif self.texts[name]:
            answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "TXT", *self.texts[name]))
        self._transport.sendto(answer.to_wire(), addr)


@pytest.fixture
async def name_server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    yield server
    transport.close()


@dataclass
class Names:
    world: World
    domains: Domains
    name_server: NameServer

    async def admin(self, slug: str) -> Caller:
        return await self.world.new_admin(await self.world.tenant(slug))

    def publish(self, domain: str, *values: str) -> None:
        self.name_server.texts[f"_docuchat-challenge.{domain}"] = [f'"{value}"' for value in values]

    async def tenant(self, caller: Caller) -> Tenant:
        async with self.world.uow(caller.tenant_id) as tx:
            found = await tx.tenants.find_by_id(caller.tenant_id)
        assert found is not None
        return found

    async def unproven(self, caller: Caller, *domains: str) -> frozenset[str]:
        tenant = await self.tenant(caller)
        async with self.world.uow(caller.tenant_id) as tx:
            return await unproven(tx, tenant, domains)


@pytest.fixture
async def names(make_world: Any, name_server: NameServer) -> Names:
    world = await make_world()
    records = NameServers([name_server.address], timedelta(seconds=5))
    return Names(world, Domains(world.uow, records, world.clock), name_server)


async def test_a_domain_is_proven_by_the_record_of_this_tenant_and_domain(names: Names) -> None:
    acme = await names.admin("acme")
    domain = await names.domains.create(acme, "Acme.Example ")
    other = await names.domains.create(acme, "other.example")
    assert (domain.domain, domain.record_name) == ("acme.example", "_docuchat-challenge.acme.example")
    for published in (
        [],
        ["docuchat-verification="],
        [other.record_value],
        [domain.token],
        ["x" + domain.record_value],
    ):
        names.publish("acme.example", *published)
        with pytest.raises(DomainNotProven):
            await names.domains.verify(acme, domain.id)
    del names.name_server.texts["_docuchat-challenge.acme.example"]
    with pytest.raises(DomainNotProven, match=f"{domain.record_name} with the value {domain.record_value}"):
        await names.domains.verify(acme, domain.id)
    assert await names.unproven(acme, "acme.example") == {"acme.example"}

    names.publish("acme.example", "v=spf1 -all", domain.record_value)
    proven = await names.domains.verify(acme, domain.id)
    assert proven.verified_at == names.world.clock.now()
    names.publish("acme.example")
    assert (await names.domains.verify(acme, domain.id)).verified_at == proven.verified_at, "it stays proven"
    assert await names.unproven(acme, "acme.example", "other.example", "sub.acme.example") == {
        "other.example",
        "sub.acme.example",
    }
    acts = [event.action for event in await names.world.events() if event.type == "audit.recorded.v1"]  # type: ignore[attr-defined] - of this type
    assert acts.count("domain.verify") == 1


async def test_a_domain_is_one_tenants_until_that_gives_it_up(names: Names) -> None:
    acme, evil = await names.admin("acme"), await names.admin("evil")
    first, second = await names.domains.create(acme, "acme.example"), await names.domains.create(evil, "acme.example")
    assert first.token != second.token
    names.publish("acme.example", first.record_value, second.record_value)
    await names.domains.verify(acme, first.id)
    with pytest.raises(DomainTaken):
        await names.domains.verify(evil, second.id)
    assert await names.unproven(evil, "acme.example") == {"acme.example"}
    for domain_id in (first.id, uuid7()):
        with pytest.raises(DomainNotFound):
            await names.domains.verify(evil, domain_id)
        with pytest.raises(DomainNotFound):
            await names.domains.delete(evil, domain_id)
    await names.domains.delete(acme, first.id)
    await names.domains.verify(evil, second.id)
    assert await names.unproven(acme, "acme.example") == {"acme.example"}


async def test_what_an_operator_vouched_for_needs_no_record(names: Names) -> None:
    acme = await names.admin("acme")
    await names.world.tenants.set_signup(acme.tenant_id, SignUp(SignUpMode.DOMAINS, frozenset({"acme.example"})))
    assert await names.unproven(acme, "acme.example", "other.example") == {"other.example"}
    tenant = await names.tenant(acme)
    async with names.world.uow(acme.tenant_id) as tx:
        await require_proven(tx, tenant, ["acme.example"])
        with pytest.raises(DomainNotProven) as refused:
            await require_proven(tx, tenant, ["acme.example", "other.example"])
    assert refused.value.extensions == {"domains": ["other.example"]}


async def test_a_domain_that_the_sign_up_names_is_not_given_up(names: Names) -> None:
    acme = await names.admin("acme")
    domain = await names.domains.create(acme, "acme.example")
    names.publish("acme.example", domain.record_value)
    await names.domains.verify(acme, domain.id)
    await names.world.tenants.set_signup(acme.tenant_id, SignUp(SignUpMode.DOMAINS, frozenset({"acme.example"})))
    with pytest.raises(DomainInUse):
        await names.domains.delete(acme, domain.id)
    await names.world.tenants.set_signup(acme.tenant_id, SignUp(SignUpMode.INVITE))
    await names.domains.delete(acme, domain.id)


async def test_what_is_no_domain_and_what_is_there_already_is_refused(names: Names) -> None:
    acme = await names.admin("acme")
    for text in ("acme", "acme..example", "-acme.example", "acme.example/x", "1.2.3.4", "a b.example", "*.example"):
        with pytest.raises(InvalidDomain):
            await names.domains.create(acme, text)
    await names.domains.create(acme, "acme.example")
    with pytest.raises(DomainKnown):
        await names.domains.create(acme, "ACME.example")


async def test_a_name_server_that_fails_proves_nothing_and_is_said(names: Names) -> None:
    acme = await names.admin("acme")
    domain = await names.domains.create(acme, "acme.example")
    names.name_server.is_broken = True
    with pytest.raises(DnsUnavailable):
        await names.domains.verify(acme, domain.id)
    silent = NameServers(["127.0.0.1:9"], timedelta(milliseconds=200))
    with pytest.raises(DnsUnavailable):
        await silent.texts_of("acme.example")


def test_name_servers_are_named_as_usual() -> None:
    assert parse_name_server("192.0.2.1") == ("192.0.2.1", 53)
    assert parse_name_server("192.0.2.1:5353") == ("192.0.2.1", 5353)
    assert parse_name_server("2001:db8::1") == ("2001:db8::1", 53)
    assert parse_name_server("[2001:db8::1]:5353") == ("2001:db8::1", 5353)


async def test_a_tenant_has_fifty_domains_at_most_also_when_several_add_at_once(names: Names) -> None:
    acme, moment = await names.admin("acme"), names.world.clock.now()
    async with names.world.uow(acme.tenant_id) as tx:
        for number in range(MOST_DOMAINS - 1):
            await tx.domains.add(OwnedDomain(acme.tenant_id, uuid7(), f"a{number}.example", "token", moment, None))
    tenant = await names.tenant(acme)
    admins = [await names.world.new_admin(tenant) for _ in range(4)]
    adding = [names.domains.create(admin, f"b{number}.example") for number, admin in enumerate(admins)]
    outcomes = await asyncio.gather(*adding, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(TooManyDomains) == 3, outcomes


async def test_an_operator_takes_a_domain_from_a_tenant_and_another_one_may_prove_it(make_world: Any) -> None:
    world = await make_world()
    rule = SignUp(SignUpMode.DOMAINS, frozenset({"acme.example", "acme.test"}))
    first, _ = await world.tenants.create("first", "First", tenant_id=None, signup=rule)
    second = await world.tenant("second")
    release = DomainRelease(world.uow, world.tenants)
    proven = [OwnedDomain(one.id, uuid7(), "acme.example", "x", world.clock.now(), None) for one in (first, second)]
    for domain in proven:
        async with world.uow(domain.tenant_id) as tx:
            await tx.domains.add(domain)
    async with world.uow(first.id) as tx:
        assert await tx.domains.verify(first.id, proven[0].id, world.clock.now())
    with pytest.raises(DomainTaken):
        async with world.uow(second.id) as tx:
            await tx.domains.verify(second.id, proven[1].id, world.clock.now())
    for name in ("acme.test", "other.example", "no domain"):  # added by nobody: what an operator has set stays
        with pytest.raises(DomainNotFound):
            await release.release(first, name, None)
    await release.release(first, "Acme.Example", None)
    assert (await world.tenants.get_by_reference("first")).signup.domains == {"acme.test"}
    async with world.uow(second.id) as tx:
        assert await tx.domains.verify(second.id, proven[1].id, world.clock.now())
    told = [(event.action, event.object_id, event.detail) for event in await world.events()
            if isinstance(event, AuditRecorded)]  # fmt: skip
    assert told[-2:] == [
        ("tenant.change", str(first.id), "signup domains acme.test"),
        ("domain.release", str(proven[0].id), "acme.example"),
    ]
    assert {event.tenant_id for event in (await world.events())[-2:]} == {first.id}
    with pytest.raises(DomainNotFound):
        await release.release(first, "acme.example", None)
