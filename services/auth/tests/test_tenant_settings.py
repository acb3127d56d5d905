"""What a tenant's admins may change of it, and what only operators may."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.adapters.mail import notice_message
from docuchat_auth.adapters.name_servers import NameServers
from docuchat_auth.domains.errors import DomainInUse, DomainNotProven
from docuchat_auth.domains.service import Domains
from docuchat_auth.lifecycle.domain import SettingsChange
from docuchat_auth.lifecycle.errors import OperatorsOpen
from docuchat_auth.lifecycle.service import Notices, Settings
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.tenants.domain import INVITED_ONLY, OPEN, Retention, SignUp, SignUpMode, Tenant
from docuchat_auth.users.service import outdate
from docuchat_common.events.catalogue import AuditRecorded, TenantSettings
from docuchat_testkit.eventually import eventually

from .test_deletion import GRACE, Mails
from .test_members import People
from .test_operators import TENANTS, bearer, make
from .test_revisions import claims_of, told

WAITING = (
    "SELECT count(DISTINCT l.pid) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid) "
    "WHERE NOT l.granted AND a.datname = current_database()"
)
OF_ACME = SignUp(SignUpMode.DOMAINS, frozenset({"acme.example", "acme.test"}))


def settings_of(world: Any, mails: Mails | None = None) -> Settings:
    return Settings(world.uow, world.revisions, world.clock, GRACE, Notices(world.uow, (mails or Mails()).send_notice))


async def test_an_admin_keeps_narrows_or_drops_the_rule_and_an_operator_alone_widens_it(make_world: Any) -> None:
    world = await make_world()
    settings, closed = settings_of(world), await world.tenant(is_open=False)
    opened = await world.tenant("open")
    for_acme, _ = await world.tenants.create("acme", "Acme", tenant_id=None, signup=OF_ACME)
    narrower = SignUp(SignUpMode.DOMAINS, frozenset({"acme.test"}))

    async def signup(tenant: Any, wanted: SignUp) -> SignUp:
        changed: SignUp = (await settings.change(await world.new_admin(tenant), SettingsChange(signup=wanted))).signup
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
    settings, other = settings_of(world), await world.tenant("other")
    tenant = await world.tenant()
    changed = await settings.change(await world.new_admin(tenant), SettingsChange(name="Another name"))
    assert (changed.name, changed.signup) == ("Another name", tenant.signup)
    assert (await settings.get(await world.new_admin(other))).name == "Other"


async def test_things_are_kept_longer_at_once_and_shorter_after_a_grace_which_is_taken_back_until_then(
    make_world: Any,
) -> None:
    world = await make_world()
    people = await People(world).join()
    mails = Mails()
    settings = settings_of(world, mails)

    async def keep(name: str = "ann", **days: int | None) -> Tenant:
        return await settings.change(people.caller(name), SettingsChange(retention=days))

    async def pass_by(**time: float) -> Tenant:
        world.clock.advance(**time)
        await settings.begin_due()
        return await settings.get(people.caller("ann"))

    for_ever, due = Retention(), world.clock.now() + GRACE
    for refused in (people.caller("bob"), await world.service_key(people.tenant)):
        with pytest.raises(OwnersOnly):
            await settings.change(refused, SettingsChange(retention={"chats_days": 30}))
    planned = await keep(chats_days=30)
    assert (planned.retention, planned.next_retention, planned.retention_changes_at) == (for_ever, Retention(30), due)
    assert (await pass_by(days=6)).retention == for_ever
    later = await keep("bob", chats_days=60)  # an admin may have it kept for longer, which puts nothing off
    assert (later.next_retention, later.retention_changes_at) == (Retention(60), due)
    assert (await keep("bob", chats_days=None)).retention_changes_at is None
    assert (await pass_by(days=2)).retention == for_ever

    await keep(chats_days=30)
    await pass_by(days=6)
    again = await keep(documents_days=365)
    assert again.retention_changes_at == world.clock.now() + GRACE
    assert (await pass_by(days=6, hours=23)).retention == for_ever
    await world.tenants.set_suspended(people.tenant.id, is_suspended=True)
    assert (await pass_by(hours=2)).retention == for_ever  # nobody could take it back
    await world.tenants.set_suspended(people.tenant.id, is_suspended=False)
    for _ in range(2):
        kept = await pass_by()
        assert (kept.retention, kept.next_retention, kept.retention_changes_at) == (Retention(30, 365), None, None)
    assert (await keep("bob", chats_days=60)).retention == Retention(60, 365)
    told = [event for event in await world.events() if isinstance(event, TenantSettings)]
    assert [(one.version, one.chats_days, one.documents_days) for one in told] == [(1, 30, 365), (2, 60, 365)]
    notices = [(notice.to, notice.retention) for notice in mails.notices]
    wanted = [Retention(30), Retention(30), Retention(30, 365)]
    assert notices == [("ann@example.com", retention) for retention in wanted]
    text = notice_message(mails.notices[-1], "DocuChat <no-reply@example.com>").get_content()
    assert "chats 30 days, documents 365 days" in text


async def test_the_tenant_over_http(auth: Any) -> None:
    operator = await bearer(auth, await make(auth))
    await auth.http.post(TENANTS, json={"slug": "acme", "name": "Acme", "owner": "ann@example.com"}, headers=operator)
    owner = {"Authorization": f"Bearer {(await auth.tokens_of('ann@example.com', 'acme'))['access_token']}"}
    seen = await auth.http.get("/v1/tenant", headers=owner)
    assert (seen.json()["slug"], seen.json()["state"], seen.json()["signup"]) == ("acme", "active", "invite")
    changed = await auth.http.patch("/v1/tenant", json={"name": "Acme Ltd"}, headers=owner)
    assert changed.json() == seen.json() | {"name": "Acme Ltd"}
    kept = (await auth.http.patch("/v1/tenant", json={"retention": {"chats_days": 30}}, headers=owner)).json()
    assert kept["retention"] == {"chats_days": None, "documents_days": None}
    assert kept["next_retention"] == {"chats_days": 30, "documents_days": None} and kept["retention_changes_at"]
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
    settings, tenant = settings_of(world), await world.tenant("open")
    boss = await world.new_admin(tenant)
    domains = Domains(world.uow, NameServers((), timedelta(0)), world.clock)
    domain = await domains.create(boss, "acme.example")
    async with world.uow.system() as tx:  # as an operator does
        await tx.tenants.lock(tenant.id)
        asked = asyncio.create_task(settings.change(boss, SettingsChange(signup=OPEN)))
        await waits_for_a_lock(world)
        await tx.tenants.set_signup(tenant.id, INVITED_ONLY)
    with pytest.raises(OperatorsOpen):
        await asked

    await world.admin.execute("UPDATE auth.domains SET verified_at = now()")
    async with world.uow.system() as tx:
        await tx.tenants.lock(tenant.id)
        wanted = SignUp(SignUpMode.DOMAINS, frozenset({"acme.example"}))
        asked = asyncio.create_task(settings.change(boss, SettingsChange(signup=wanted)))
        await waits_for_a_lock(world)
        given_up = asyncio.create_task(domains.delete(boss, domain.id))
        await waits_for_a_lock(world, 2)
    assert (await asked).signup == wanted
    with pytest.raises(DomainInUse):
        await given_up


async def waits_for_a_lock(world: Any, transactions: int = 1) -> None:
    async def waiting() -> bool:
        return bool(await world.admin.fetchval(WAITING) == transactions)

    await eventually(waiting)


async def test_a_demand_for_a_second_factor_is_felt_at_once_by_who_has_none_and_by_nobody_else(make_world: Any) -> None:
    world = await make_world()
    tenant, other = await world.tenant(), await world.tenant("other")
    people = {
        name: await world.sign_in_as(tenant, f"{name}@example.com") for name in ("ann", "bob", "cid", "dan", "eli")
    }
    await world.sign_in_as(other, "eve@example.com")
    ann, bob, cid, dan, eli, _ = await world.users()
    factors = "INSERT INTO auth.totp (tenant_id, user_id, sealed_secret, confirmed_at, last_step) "
    await world.admin.execute(f"{factors} VALUES ($1, $2, 'x', now(), 0)", tenant.id, bob.id)
    await world.admin.execute("UPDATE auth.refresh_tokens SET factor_shown = true WHERE user_id = $1", bob.id)
    await world.admin.execute("UPDATE auth.refresh_tokens SET method = 'oidc' WHERE user_id = $1", eli.id)
    pending = "INSERT INTO auth.totp (tenant_id, user_id, pending_secret, pending_at) VALUES ($1, $2, 'x', now())"
    await world.admin.execute(pending, tenant.id, cid.id)
    async with world.uow(tenant.id) as tx:
        await outdate(tx, world.revisions, tenant.id, dan.id)  # who is at another version already
    boss = await world.new_admin(tenant)
    settings, (_, after) = settings_of(world), await told(world, None)

    async def outdated(change: SettingsChange) -> dict[str, int]:
        nonlocal after
        await settings.change(boss, change)
        found, after = await told(world, after)
        assert {(kind, state) for kind, _, _, state in found} <= {("user", "changed")}
        return {subject: version for _, subject, version, _ in found}

    assert await outdated(SettingsChange(name="Other")) == {}
    first = await outdated(SettingsChange(require_second_factor=True))
    assert first == {str(ann.id): 1, str(cid.id): 1, str(dan.id): 2}
    assert await outdated(SettingsChange(require_second_factor=True)) == {}
    claims = claims_of((await world.sessions.refresh(tenant.id, people["ann"].refresh_token)).access_token)
    assert (claims["ver"], claims["scope"]) == (1, "account.use")  # and is still signed in
    assert set(await outdated(SettingsChange(require_second_factor=False))) == set(first)
