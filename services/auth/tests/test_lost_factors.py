"""Second factors that were lost, and what their secrets are worth to others."""

from typing import Any

import pytest

from docuchat_auth.members.domain import MemberChange
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.operators.service import SignInReset
from docuchat_auth.second_factors.totp import TotpSeal, new_secret
from docuchat_auth.sessions.errors import InvalidRefreshToken, OtpInvalid, OtpRequired
from docuchat_auth.users.domain import Email
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.caller import NotAllowed
from docuchat_common.ids import UserId

from .conftest import OPERATOR, SECRET
from .test_second_factors import ANN, BOB, HERE, caller_of, set_up


async def test_admins_take_the_factors_of_others_away_and_only_owners_those_of_owners(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    owner = await world.sign_in_as(tenant, ANN)
    bob = await world.sign_in_as(tenant, BOB)
    await set_up(world, owner)
    await set_up(world, bob)
    ann_id, bob_id = (UserId(caller_of(pair).subject_id) for pair in (owner, bob))
    await world.members.change(tenant.id, bob_id, MemberChange(Role.ADMIN), OPERATOR)
    reset = world.second_factors.reset
    with pytest.raises(OwnersOnly):
        await reset(caller_of(bob), ann_id)
    with pytest.raises(NotAllowed):
        await reset(caller_of(owner), ann_id)
    await reset(caller_of(owner), bob_id)
    with pytest.raises(InvalidRefreshToken):
        await world.sessions.refresh(tenant.id, bob.refresh_token)
    assert await world.sign_in_as(tenant, BOB)
    with pytest.raises(OtpRequired):
        await world.sign_in_as(tenant, ANN)


async def test_an_operators_reset_takes_them_away_only_when_it_is_told_to(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    await set_up(world, await world.sign_in_as(tenant, ANN))
    (ann,) = await world.users()
    reset = SignInReset(world.uow, world.sessions, [])
    await reset.reset(tenant.id, ann.id)
    with pytest.raises(OtpRequired):
        await world.sign_in_as(tenant, ANN)
    await reset.reset(tenant.id, ann.id, second_factors=True)
    assert await world.sign_in_as(tenant, ANN)
    told = [event for event in await world.events() if getattr(event, "action", "") == "user.reset_sign_in"]
    assert [getattr(event, "detail", "") for event in told] == [None, "second factors taken away"]


async def test_a_secret_is_sealed_for_its_user_and_useless_under_another_key(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    phone = await set_up(world, await world.sign_in_as(tenant, ANN))
    await world.sign_in_as(tenant, BOB)
    ann, bob = await world.users()
    sealed = (await world.admin.fetchrow("SELECT sealed_secret FROM auth.totp"))["sealed_secret"]
    seal = TotpSeal(SECRET)
    assert phone.secret.encode() not in sealed and seal.open(ann, sealed) == phone.secret
    assert seal.open(bob, sealed) is None and TotpSeal(SECRET + "!").open(ann, sealed) is None
    assert len(new_secret()) == 32
    await world.admin.execute("UPDATE auth.totp SET sealed_secret = $1", TotpSeal(SECRET + "!").close(ann, "A" * 32))
    code = await world.ask(tenant, ANN)
    with pytest.raises(OtpInvalid):
        await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, otp=phone.shows_next())
    assert await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, otp=phone.recovery_codes[0])
