"""What outlives an access token, or destroys, needs a sign-in of the last minutes: a stolen token is not enough."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_auth.identity_providers.service import IdentityProviders
from docuchat_auth.lifecycle.domain import SettingsChange
from docuchat_auth.lifecycle.service import Deletion, Notices, Settings
from docuchat_common.egress import EgressPolicy
from docuchat_common.http.sign_ins import RecentSignInRequired

from .conftest import SECRET
from .test_deletion import GRACE, Mails
from .test_members import People, new_key
from .test_second_factors import GOOD, HERE, passwords_of


async def test_a_stolen_token_makes_nothing_that_outlives_it_and_destroys_nothing(make_world: Any) -> None:
    world = await make_world()
    people = await People(world).join()
    ann = people.caller("ann")
    keys = ApiKeys(world.uow, world.keys, world.revisions, world.clock)
    providers = IdentityProviders(world.uow, world.sessions, SealedSecrets(SECRET), EgressPolicy(), world.clock)
    mails = Mails()
    notices = Notices(world.uow, mails.send_notice)
    settings = Settings(world.uow, world.revisions, world.clock, GRACE, notices)
    deletion = Deletion(world.uow, world.revisions, mails, notices, world.clock, GRACE)
    key = (await keys.create(ann, new_key("mine"))).key
    await settings.change(ann, SettingsChange(require_second_factor=True))
    world.clock.advance(minutes=16)
    async with passwords_of(world) as (passwords, _):
        for act in (
            passwords.change(ann, None, GOOD, HERE),
            keys.create(ann, new_key("another")),
            keys.rotate(ann, key.id, GRACE),
            providers.create(ann, {"issuer": "https://evil.example"}, None),
            providers.change(ann, uuid4(), {"issuer": "https://evil.example"}, None),
            settings.change(ann, SettingsChange(require_second_factor=False)),
            settings.change(replace(ann, subject_type="key"), SettingsChange(require_second_factor=False)),
            settings.change(ann, SettingsChange(retention={"chats_days": 1})),
            deletion.ask(people.tenant.id, "demo", ann),
        ):
            with pytest.raises(RecentSignInRequired):
                await act
        ann = people.caller("ann")
        assert await settings.change(ann, SettingsChange(require_second_factor=True, name="Another name"))
        await passwords.change(ann, None, GOOD, HERE)
    assert (await deletion.ask(people.tenant.id, "demo", ann)).state == "deleting"
