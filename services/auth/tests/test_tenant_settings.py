"""What a tenant's admins may change of it, and what only operators may."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.adapters.name_servers import NameServers
from docuchat_auth.domains.errors import DomainInUse, DomainNotProven
from docuchat_auth.domains.service import Domains
from docuchat_auth.lifecycle.domain import SettingsChange
from docuchat_auth.lifecycle.errors import OperatorsOpen
from docuchat_auth.lifecycle.service import Settings
from docuchat_auth.tenants.domain import INVITED_ONLY, OPEN, Retention, SignUp, SignUpMode
from docuchat_common.events.catalogue import AuditRecorded, TenantSettings
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_testkit.eventually import eventually

from .test_operators import TENANTS, bearer, make

WAITING = (
    "SELECT count(DISTINCT l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
    "WHERE NOT l.granted AND a.datname = current_database()"
)
OF_ACME = SignUp(SignUpMode.DOMAINS, frozenset({"acme.example", "acme.test"}))


def admin(tenant_id: TenantId) -> Caller:
    return Caller(tenant_id, "user", uuid7(), role="admin", session_id=uuid7())


async def test_an_admin_keeps_narrows_or_drops_the_rule_and_an_operator_alone_widens_it(make_world: Any) -> None:
    world = await make_world()
    settings, closed = Settings(world.uow, world.clock), await world.tenant(is_open=False)
    opened = await world.tenant("open")
    for_acme, _ = await world.tenants.create("acme", "Acme", tenant_id=None, signup=OF_ACME)
    narrower = SignUp(SignUpMode.DOMAINS, frozenset({"acme.test"}))

    async def signup(tenant: Any, wanted: SignUp) -> SignUp:
        changed: SignUp = (await settings.change(admin(tenant.id), SettingsChange(signup=wanted))).signup
        return changed

    with pytest.raises(OperatorsOpen):
        await signup(closed, OPEN)
    with pytest.raises(DomainNotProven):
        await signup(closed, narrower)
    with pytest.raises(DomainNotProven):
        await signup(for_acme, SignUp(SignUpMode.DOMAINS, frozenset({"acme.test", "example.com"})))
    assert await signup(for_acme, narrower) == narrower
    assert await signup(opened, OPEN) == OPEN
    assert await signup(opened, INVITED_ONLY) == INVITED_ONLY
    with pytest.raises(OperatorsOpen):
        await signup(opened, OPEN)
    entries = [event.detail for event in await world.events() if isinstance(event, AuditRecorded)]
    assert [detail for detail in entries if detail] == ["signup domains", "signup invite"]


async def test_a_change_is_of_the_own_tenant_alone(make_world: Any) -> None:
    world = await make_world()
    settings, other = Settings(world.uow, world.clock), await world.tenant("other")
    tenant = await world.tenant()
    changed = await settings.change(admin(tenant.id), SettingsChange(name="Another name"))
    assert (changed.name, changed.signup) == ("Another name", tenant.signup)
    assert (await settings.get(admin(other.id))).name == "Other"


async def test_for_how_long_things_are_kept_is_told_to_who_keeps_them(make_world: Any) -> None:
    world = await make_world()
    settings, tenant = Settings(world.uow, world.clock), await world.tenant()
    who = admin(tenant.id)
    for wanted in ({"chats_days": 30}, {"documents_days": 365}, {"documents_days": 365}, {"chats_days": None}):
        changed = await settings.change(who, SettingsChange(retention=wanted))
    await settings.change(who, SettingsChange(name="Another name"))
    assert changed.retention == Retention(None, 365)
    told = [event for event in await world.events() if isinstance(event, TenantSettings)]
    assert [(event.version, event.chats_days, event.documents_days) for event in told] == [
        (1, 30, None),
        (2, 30, 365),
        (3, None, 365),
    ]


async def test_the_tenant_over_http(auth: Any) -> None:
    operator = await bearer(auth, await make(auth))
    await auth.http.post(TENANTS, json={"slug": "acme", "name": "Acme", "owner": "ann@example.com"}, headers=operator)
    owner = {"Authorization": f"Bearer {(await auth.tokens_of('ann@example.com', 'acme'))['access_token']}"}
    seen = await auth.http.get("/v1/tenant", headers=owner)
    assert (seen.json()["slug"], seen.json()["state"], seen.json()["signup"]) == ("acme", "active", "invite")
    changed = await auth.http.patch("/v1/tenant", json={"name": "Acme Ltd"}, headers=owner)
    assert changed.json() == seen.json() | {"name": "Acme Ltd"}
    kept = await auth.http.patch("/v1/tenant", json={"retention": {"chats_days": 30}}, headers=owner)
    assert kept.json()["retention"] == {"chats_days": 30, "documents_days": None}
    for days in (0, -1, 1.5, True, "30"):
        body = {"retention": {"chats_days": days}}
        assert (await auth.http.patch("/v1/tenant", json=body, headers=owner)).status_code == 422, days
    for wrong in ({"signup": "domains"}, {"domains": ["acme.example"]}, {"name": "a\0b"}, {"slug": "other"}):
        assert (await auth.http.patch("/v1/tenant", json=wrong, headers=owner)).status_code == 422, wrong
    refused = await auth.http.patch("/v1/tenant", json={"signup": "open"}, headers=owner)
    assert (refused.status_code, refused.json()["code"]) == (403, "operators_open")
    await auth.http.patch(f"{TENANTS}/acme", json={"suspended": True}, headers=operator)
    assert (await auth.http.get("/v1/tenant", headers=owner)).json()["state"] == "suspended"


async def test_a_sign_up_is_judged_as_the_tenant_is_when_it_is_written(make_world: Any) -> None:
    world = await make_world()
    settings, tenant = Settings(world.uow, world.clock), await world.tenant("open")
    domains = Domains(world.uow, NameServers((), timedelta(0)), world.clock)
    domain = await domains.create(admin(tenant.id), "acme.example")
    async with world.uow.system() as tx:  # as an operator does
        await tx.tenants.lock(tenant.id)
        asked = asyncio.create_task(settings.change(admin(tenant.id), SettingsChange(signup=OPEN)))
        await waits_for_a_lock(world)
        await tx.tenants.set_signup(tenant.id, INVITED_ONLY)
    with pytest.raises(OperatorsOpen):
        await asked

    await world.admin.execute("UPDATE auth.domains SET verified_at = now()")
    async with world.uow.system() as tx:
        await tx.tenants.lock(tenant.id)
        wanted = SignUp(SignUpMode.DOMAINS, frozenset({"acme.example"}))
        asked = asyncio.create_task(settings.change(admin(tenant.id), SettingsChange(signup=wanted)))
        await waits_for_a_lock(world)
        given_up = asyncio.create_task(domains.delete(admin(tenant.id), domain.id))
        await waits_for_a_lock(world, 2)
    assert (await asked).signup == wanted
    with pytest.raises(DomainInUse):
        await given_up


async def waits_for_a_lock(world: Any, transactions: int = 1) -> None:
    async def waiting() -> bool:
        return bool(await world.admin.fetchval(WAITING) == transactions)

    await eventually(waiting)
