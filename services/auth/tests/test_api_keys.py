"""API keys: who makes them, what they are worth, and when they end."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from docuchat_auth.api_keys.domain import IssuedKey, NewKey
from docuchat_auth.api_keys.errors import (
    ApiKeyNotFound,
    KeyExpiryPast,
    RightsExceeded,
    TooManyApiKeys,
)
from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.users.errors import UserGone
from docuchat_auth.users.service import outdate
from docuchat_common.contracts.api_keys import new_api_key
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.identity import AddressNotAllowed, InvalidApiKey
from docuchat_testkit.identity import INTERNAL_TOKEN

from .test_revisions import claims_of

READ = frozenset({"documents.read"})
HOUR = timedelta(hours=1)


class Keys:
    """The slice on a database, with an owner, a member and a caller for each."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.allow(100)

    def allow(self, most: int) -> None:
        self.service = ApiKeys(self.world.uow, self.world.keys, self.world.revisions, self.world.clock, most=most)

    async def begin(self) -> "Keys":
        self.tenant = await self.world.tenant()
        for email in ("ann@example.com", "bob@example.com"):
            await self.world.sign_in_as(self.tenant, email)
        self.users = await self.world.users()
        return self

    @property
    def ann(self) -> Caller:
        return self._caller(0, "owner")

    @property
    def bob(self) -> Caller:
        return self._caller(1, "member")

    def _caller(self, number: int, role: str) -> Caller:
        session_id = self.world.clock.session_id()
        return Caller(self.tenant.id, "user", self.users[number].id, role=role, session_id=session_id)

    async def make(self, caller: Caller, **changed: Any) -> IssuedKey:
        wanted = {"scopes": READ, "addresses": (), "expires_at": None, "service_role": None, **changed}
        return await self.service.create(caller, NewKey(name="program", **wanted))

    async def claims(self, text: str, address: str = "192.0.2.7") -> dict[str, Any]:
        return claims_of((await self.service.exchange(text, address)).access_token)

    async def is_refused(self, text: str) -> bool:
        try:
            await self.claims(text)
        except InvalidApiKey:
            return True
        return False

    async def ended(self) -> set[str]:
        page = await self.world.revisions.list_after(None)
        return {item.subject for item in page.items if (item.kind, item.state) == ("key", "ended")}


@pytest.fixture
async def keys(make_world: Any) -> Keys:
    return await Keys(await make_world()).begin()


async def test_a_users_key_acts_with_the_users_present_role_and_ends_with_the_account(keys: Keys) -> None:
    issued = await keys.make(keys.bob)
    claims = await keys.claims(issued.text)
    assert (claims["sub"], claims["sub_type"], claims["scope"]) == (str(issued.key.id), "key", "documents.read")
    assert claims["customer_id"] == str(keys.tenant.customer_id)
    assert (claims["role"], claims["user"], claims["ver"]) == ("member", str(keys.bob.subject_id), 0)
    assert claims["groups"] == [str(keys.bob.subject_id)]
    assert (claims["exp"] - claims["iat"], claims["sid"]) == (300, str(issued.key.secrets[0].id))

    await keys.world.admin.execute("UPDATE auth.users SET role = 'viewer' WHERE id = $1", keys.bob.subject_id)
    async with keys.world.uow(keys.tenant.id) as tx:
        await outdate(tx, keys.world.revisions, keys.tenant.id, keys.bob.user_id)
    claims = await keys.claims(issued.text)
    assert (claims["role"], claims["ver"]) == ("viewer", 1)
    await keys.world.admin.execute("UPDATE auth.users SET is_active = false WHERE id = $1", keys.bob.subject_id)
    assert await keys.is_refused(issued.text)


async def test_a_key_may_do_no_more_than_who_makes_it(keys: Keys) -> None:
    for caller, changed in (
        (keys.bob, {"scopes": frozenset({"users.manage"})}),
        (keys.ann, {"scopes": frozenset({"users.manage"}), "service_role": Role.MEMBER}),
        (keys.ann, {"scopes": frozenset({"identity.manage"}), "service_role": Role.ADMIN}),
        (Caller(keys.tenant.id, "user", keys.ann.subject_id, role="admin"), {"service_role": Role.OWNER}),
    ):
        with pytest.raises(RightsExceeded):
            await keys.make(caller, **changed)
    with pytest.raises(NotAllowed):
        await keys.make(keys.bob, service_role=Role.VIEWER)
    with pytest.raises(NotAllowed):  # a key, even one with that scope
        await keys.make(Caller(keys.tenant.id, "key", uuid4(), role="owner", scopes=frozenset({"keys.use", *READ})))

    service = await keys.make(keys.ann, service_role=Role.VIEWER)
    claims = await keys.claims(service.text)
    assert (claims["role"], claims["groups"], "user" in claims) == ("viewer", [], False)


async def test_a_key_opens_nothing_once_it_is_wrong_over_or_revoked_and_nothing_tells_these_apart(keys: Keys) -> None:
    brief = await keys.make(keys.bob, expires_at=keys.world.clock.now() + timedelta(minutes=2))
    claims = await keys.claims(brief.text)
    assert claims["exp"] - claims["iat"] == 120
    revoked, live = await keys.make(keys.bob), await keys.make(keys.bob)
    await keys.service.revoke(keys.bob, revoked.key.id)
    keys.world.clock.advance(minutes=2)
    for text in (
        brief.text, revoked.text, new_api_key(live.key.id).text, new_api_key(uuid4()).text, "dck_", "nonsense",
    ):  # fmt: skip
        assert await keys.is_refused(text)
    assert str(revoked.key.id) in await keys.ended()
    with pytest.raises(KeyExpiryPast):
        await keys.make(keys.bob, expires_at=keys.world.clock.now())


async def test_a_key_is_used_from_its_addresses_only(keys: Keys) -> None:
    issued = await keys.make(keys.bob, addresses=("192.0.2.0/24", "2001:db8::/32"))
    for address in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1"):
        assert await keys.claims(issued.text, address)
    for address in ("198.51.100.1", "2001:db9::1", "unknown"):
        with pytest.raises(AddressNotAllowed):
            await keys.claims(issued.text, address)


async def test_a_rotated_key_has_two_secrets_until_the_overlap_ends_and_tells_who_uses_the_old_one(keys: Keys) -> None:
    first = await keys.make(keys.bob)
    second = await keys.service.rotate(keys.bob, first.key.id, HOUR)
    keys.world.clock.advance(minutes=58)
    claims = await keys.claims(first.text, "192.0.2.66")
    assert (claims["sub"], claims["exp"] - claims["iat"]) == (str(first.key.id), 120)
    assert (await keys.claims(second.text, "192.0.2.7"))["sub"] == str(first.key.id)
    (listed,) = await keys.service.list_after(keys.bob, None, 10)
    assert [secret.last_used_from for secret in listed.secrets] == ["192.0.2.7", "192.0.2.66"]
    assert [secret.prefix for secret in listed.secrets] == [second.text[:41], first.text[:41]]
    keys.world.clock.advance(minutes=2)
    assert await keys.is_refused(first.text)

    third = await keys.service.rotate(keys.bob, first.key.id, timedelta(0))
    assert await keys.is_refused(second.text) and await keys.claims(third.text)
    # tokens of a secret that ended before its time are refused by its own id
    assert {str(issued.key.secrets[0].id) for issued in (first, second)} <= await keys.ended()


async def test_no_token_outlives_the_overlap_of_a_rotation_however_brief(keys: Keys) -> None:
    first = await keys.make(keys.bob)
    before = await keys.claims(first.text)
    await keys.service.rotate(keys.bob, first.key.id, timedelta(seconds=60))
    after = await keys.claims(first.text)
    (listed,) = await keys.service.list_after(keys.bob, None, 10)
    assert [secret.ends_at is None for secret in listed.secrets] == [True, False]
    assert before["sid"] in await keys.ended()  # what was signed before for five minutes is refused
    assert (after["sid"], after["exp"] - after["iat"]) == (str(listed.secrets[1].id), 60)
    assert after["sid"] not in await keys.ended()


async def test_the_last_use_is_written_once_a_minute(keys: Keys) -> None:
    issued = await keys.make(keys.bob)

    async def used_from() -> str | None:
        (listed,) = await keys.service.list_after(keys.bob, None, 10)
        return listed.secrets[0].last_used_from

    assert await used_from() is None
    for seconds, address, seen in ((0, "192.0.2.1", "192.0.2.1"), (59, "192.0.2.2", "192.0.2.1"), (1, "::1", "::1")):
        keys.world.clock.advance(seconds=seconds)
        await keys.claims(issued.text, address)
        assert await used_from() == seen


async def test_who_manages_keys_sees_and_revokes_all_but_does_not_take_over_a_persons(keys: Keys) -> None:
    bobs, anns = await keys.make(keys.bob), await keys.make(keys.ann)
    service = await keys.make(keys.ann, service_role=Role.OWNER, scopes=frozenset({"tenant.own"}))
    admin = Caller(keys.tenant.id, "user", uuid4(), role="admin")
    for caller, seen in ((keys.bob, {bobs}), (admin, {bobs, anns, service})):
        listed = await keys.service.list_after(caller, None, 10)
        assert {key.id for key in listed} == {issued.key.id for issued in seen}
    with pytest.raises(NotAllowed):
        await keys.service.rotate(admin, bobs.key.id, HOUR)
    with pytest.raises(RightsExceeded):  # the new secret would give more than the admin may
        await keys.service.rotate(admin, service.key.id, HOUR)
    for act in (keys.service.revoke(keys.bob, anns.key.id), keys.service.rotate(keys.bob, service.key.id, HOUR)):
        with pytest.raises(ApiKeyNotFound):
            await act
    await keys.service.revoke(admin, bobs.key.id)
    assert await keys.is_refused(bobs.text)


async def test_a_user_has_so_many_keys_at_most(keys: Keys) -> None:
    keys.allow(1)
    await keys.make(keys.bob)
    with pytest.raises(TooManyApiKeys):
        await keys.make(keys.bob)
    assert await keys.make(keys.ann)


async def test_keys_over_http_are_shown_once_and_repeated_to_who_asked(auth: Any) -> None:
    headers = {"Authorization": f"Bearer {(await auth.tokens_of('ann@example.com'))['access_token']}"}
    body = {"name": "import", "scopes": ["documents.read"], "addresses": ["192.0.2.9/24"]}
    repeated = headers | {"Idempotency-Key": "one"}
    made, again = [await auth.http.post("/v1/api-keys", json=body, headers=repeated) for _ in range(2)]
    assert (made.status_code, made.headers["cache-control"], made.json()["addresses"]) == (
        201, "no-store", ["192.0.2.0/24"],
    )  # fmt: skip
    assert (again.content, again.headers["idempotent-replayed"]) == (made.content, "true")
    key = made.json()
    assert key["secret"].startswith(key["prefix"]) and UUID(key["id"]).hex in key["prefix"]
    stored = str([tuple(row) for table in ("api_keys", "api_key_secrets", "idempotent_requests")
                  for row in await auth.query(f"SELECT * FROM auth.{table}")])  # fmt: skip
    assert key["secret"] not in auth.log() + stored and key["secret"][-32:] not in stored
    listed = (await auth.http.get("/v1/api-keys", headers=headers)).json()["items"]
    assert [item["prefix"] for item in listed] == [key["prefix"]] and "secret" not in listed[0]

    inside = {"X-Internal-Token": INTERNAL_TOKEN}

    async def exchange(address: str = "192.0.2.7", **more: Any) -> Any:
        shown = {"key": key["secret"], "address": address}
        return await auth.http.post("/internal/api-keys/exchange", json=shown, **({"headers": inside} | more))

    token = (await exchange()).json()
    assert token["expires_in"] == 300
    own = {"Authorization": f"Bearer {token['access_token']}"}
    assert (await auth.http.get("/v1/api-keys", headers=own)).json()["code"] == "not_allowed"
    assert ((await exchange(headers={})).status_code, (await exchange("::1")).json()["code"]) == (
        403, "address_not_allowed",
    )  # fmt: skip
    rotated = await auth.http.post(f"/v1/api-keys/{key['id']}/rotate", json={"overlap_seconds": 0}, headers=headers)
    assert (rotated.status_code, (await exchange()).json()["code"]) == (201, "invalid_api_key")
    gone = await auth.http.delete(f"/v1/api-keys/{key['id']}", headers=headers)
    missing = await auth.http.delete(f"/v1/api-keys/{key['id']}", headers=headers)
    assert (gone.status_code, missing.json()["code"]) == (204, "api_key_not_found")
    for wrong in ({"scopes": []}, {"scopes": ["everything"]}, {"addresses": ["here"]}, {"role": "admin"}):
        assert (await auth.http.post("/v1/api-keys", json=body | wrong, headers=headers)).status_code == 422, wrong


async def test_keys_of_one_owner_that_are_made_at_once_are_no_more_than_one_may_have(keys: Keys) -> None:
    keys.allow(3)
    for caller, changed in ((keys.bob, {}), (keys.ann, {"service_role": Role.VIEWER})):
        made = await asyncio.gather(*(keys.make(caller, **changed) for _ in range(8)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in made) == ["IssuedKey"] * 3 + ["TooManyApiKeys"] * 5


async def test_who_may_no_more_makes_no_lasting_key_whatever_the_token_says(keys: Keys) -> None:
    service = await keys.make(keys.ann, service_role=Role.VIEWER)
    demoted = replace(keys.bob, role="admin")  # as a token of before says
    with pytest.raises(NotAllowed):
        await keys.make(demoted, service_role=Role.VIEWER)
    with pytest.raises(NotAllowed):
        await keys.service.rotate(demoted, service.key.id, HOUR)
    assert await keys.make(demoted)
    await keys.world.admin.execute("UPDATE auth.users SET is_active = false WHERE id = $1", keys.bob.subject_id)
    with pytest.raises(UserGone):
        await keys.make(demoted)
