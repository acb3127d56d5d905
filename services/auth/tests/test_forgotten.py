"""Who goes is forgotten, and nobody pays for it: no walk through all that Redis keeps."""

from dataclasses import replace
from typing import Any

import pytest

from docuchat_auth.codes.domain import Account, Purpose
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.passwords.errors import InvalidCredentials, WrongPassword
from docuchat_auth.sessions.errors import OtpInvalid
from docuchat_auth.users.domain import Email

from .conftest import SECRET
from .test_second_factors import ANN, GOOD, HERE, attempt, caller_of, passwords_of, set_up


async def test_all_that_is_kept_of_an_account_is_forgotten_by_its_names(
    make_world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await make_world()
    tenant, email = await world.tenant(), Email(ANN)
    pair = await world.sign_in_as(tenant, ANN)
    other = await world.sign_in_as(tenant, "ben@example.com")
    (ann,) = [user for user in await world.users() if user.email == ANN]
    client, pseudonyms = world.codes._client, KeyedPseudonyms(SECRET)
    devices = world.second_factors._check.devices
    ours = (str(ann.id), pseudonyms.of_email(email), pseudonyms.of_account(Account(tenant.id, email)))

    async def kept(*names: str) -> list[str]:
        return [key for key in map(bytes.decode, await client.keys("auth:*")) if any(name in key for name in names)]

    async with passwords_of(world) as (passwords, sign_in):
        await passwords.change(caller_of(pair), None, GOOD, HERE)
        with pytest.raises(WrongPassword):
            await passwords.change(caller_of(pair), "not the password", GOOD, HERE)
        phone = await set_up(world, pair)
        device = (await sign_in.sign_in(attempt(tenant, phone.shows_next()))).device
        for shown in (None, device):
            with pytest.raises(InvalidCredentials):
                await sign_in.sign_in(replace(attempt(tenant, None, "not the password"), device=shown))
            with pytest.raises(OtpInvalid):
                await sign_in.sign_in(replace(attempt(tenant, "000000"), device=shown))
        for challenge in ((await world.ask_with_challenge(tenant, ANN))[1], None):
            with pytest.raises(InvalidCode):
                await world.sign_in.verify_code(tenant.id, email, "nothing", HERE, challenge)
        await world.sign_in._desk.issue(Account(tenant.id, email, Purpose.RESET), HERE)

        kinds = {":".join(key.split(":")[1:3]) for key in await kept(*ours)}
        assert kinds >= {"limit:otp", "limit:otp-known", "limit:password-known", "limit:password-network"}
        counted = [key for key in await kept(*ours) if not (key.endswith(":keys") or ":keys::" in key)]
        monkeypatch.setattr(client, "scan_iter", None)
        forgotten = await sign_in.forget_removed(ann) + await devices.forget(ann)
        forgotten += await world.codes.forget(Account(tenant.id, email))
        assert (forgotten, await kept(*ours)) == (len(counted), [])
        assert await kept(pseudonyms.of_email(Email("ben@example.com"))) != [] and other
