"""Wrong codes of a second factor: who uses up whose budget."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.sessions.errors import OtpInvalid
from docuchat_auth.users.domain import Email
from docuchat_common.acts import Act, acting, current_act
from docuchat_common.rate_limits import Limit, Rate

from .test_second_factors import ANN, GOOD, HERE, attempt, caller_of, passwords_of, set_up


async def test_a_network_gets_so_many_codes_wrong_over_all_accounts_and_a_known_device_goes_on(
    make_world: Any,
) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    async with passwords_of(world) as (passwords, sign_in):
        await passwords.change(caller_of(pair), None, GOOD, HERE)
        phone = await set_up(world, pair)
        act = current_act()
        assert act
        act.address = lambda: HERE
        device = (await sign_in.sign_in(attempt(tenant, phone.shows_next()))).device
        anybody = Limit("otp-anybody", HERE, Rate(12, timedelta(hours=1)))
        assert await passwords._limiter.hit(anybody, cost=11)  # at others' accounts; the success above is not counted
        with pytest.raises(OtpInvalid):
            await sign_in.sign_in(attempt(tenant, "000000"))
        with pytest.raises(TooManyAttempts):
            await sign_in.sign_in(attempt(tenant, phone.shows_next()))
        assert await sign_in.sign_in(replace(attempt(tenant, phone.shows_next()), device=device))
        act.address = lambda: "203.0.113.1"
        assert await sign_in.sign_in(attempt(tenant, phone.shows_next()))


async def test_who_knows_the_password_keeps_no_device_out_on_which_the_owner_showed_a_second_factor(
    make_world: Any,
) -> None:
    world = await make_world()
    tenant = await world.tenant()
    pair = await world.sign_in_as(tenant, ANN)
    async with passwords_of(world) as (passwords, sign_in):
        await passwords.change(caller_of(pair), None, GOOD, HERE)
        bare = (await sign_in.sign_in(attempt(tenant))).device  # before there was a second factor
        phone = await set_up(world, pair)
        own = (await sign_in.sign_in(attempt(tenant, phone.shows_next()))).device
        for number in range(10):
            with pytest.raises(OtpInvalid):
                await sign_in.sign_in(replace(attempt(tenant, "000000"), device=bare if number % 2 else None))
        for shown in (None, bare):
            with pytest.raises(TooManyAttempts):
                await sign_in.sign_in(replace(attempt(tenant, phone.shows_next()), device=shown))
        assert (await sign_in.sign_in(replace(attempt(tenant, phone.shows_next()), device=own))).device == own
        for _ in range(10):
            with pytest.raises(OtpInvalid):
                await sign_in.sign_in(replace(attempt(tenant, "000000"), device=own))
        with pytest.raises(TooManyAttempts):
            await sign_in.sign_in(replace(attempt(tenant, phone.shows_next()), device=own))


async def test_who_reads_the_mail_has_no_second_factor_budget_of_a_device_of_its_own(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant()
    phone = await set_up(world, await world.sign_in_as(tenant, ANN))

    async def verify(otp: str, challenge: str | None) -> str:
        code, new = await world.ask_with_challenge(tenant, ANN, challenge=challenge)
        await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, new, otp)
        return str(new)

    with acting(Act("session.start", str)):  # as a route does
        own = await verify(phone.shows_next(), None)
        own = await verify(phone.shows_next(), own)
        code, theirs = await world.ask_with_challenge(tenant, ANN)
        for _ in range(10):  # the code was right each time
            with pytest.raises(OtpInvalid):
                await world.sign_in.verify_code(tenant.id, Email(ANN), code, HERE, theirs, "000000")
        for challenge in (theirs, None):
            with pytest.raises(TooManyAttempts):
                await verify(phone.shows_next(), challenge)
        assert await verify(phone.shows_next(), own)
