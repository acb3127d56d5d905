"""A company's directory makes, changes and closes accounts, as Entra and Okta ask for it."""

from typing import Any

import pytest

from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.scim.domain import Filter, GroupChange, MemberChange, UserChange
from docuchat_auth.scim.errors import ScimInvalidFilter, ScimInvalidPath, ScimInvalidSyntax, ScimInvalidValue
from docuchat_auth.scim.filters import parse_filter, read_group_patch, read_user, read_user_patch
from docuchat_auth.scim.service import Provisioning
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.ids import uuid7

USERS, GROUPS = "/scim/v2/Users", "/scim/v2/Groups"
ERROR = "urn:ietf:params:scim:api:messages:2.0:Error"
PATCH = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]


@pytest.fixture
async def directory(auth: Any) -> Any:
    """The service, with the key of a directory in its client."""
    boss = {"Authorization": f"Bearer {(await auth.tokens_of('boss@acme.example'))['access_token']}"}
    await auth.query(
        "UPDATE auth.tenants SET signup = 'domains', signup_open = false, signup_domains = '{acme.example}'"
    )
    body = {"name": "Directory", "scopes": ["directory.sync"], "service": True, "role": "admin"}
    made = (await auth.http.post("/v1/api-keys", json=body, headers=boss)).json()
    exchange = {"key": made["secret"], "address": "127.0.0.1"}
    internal = {"X-Internal-Token": auth.environment["INTERNAL_TOKEN"]}
    token = (await auth.http.post("/internal/api-keys/exchange", json=exchange, headers=internal)).json()
    auth.http.headers["Authorization"] = f"Bearer {token['access_token']}"
    auth.boss = boss
    return auth


async def told(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/scim+json")
    body: dict[str, Any] = answer.json()
    return body


async def patch(auth: Any, path: str, *operations: dict[str, Any]) -> Any:
    return await auth.http.patch(path, json={"schemas": PATCH, "Operations": list(operations)})


async def test_a_user_is_made_found_renamed_deactivated_and_removed(directory: Any) -> None:
    http = directory.http
    body = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "Ann@Acme.example",
        "externalId": "00u1",
        "name": {"givenName": "Ann", "familyName": "Example"},
        "emails": [{"primary": True, "value": "ann@acme.example", "type": "work"}],
        "active": True,
        "password": "ignored",
    }
    ann = await told(await http.post(USERS, json=body), 201)
    assert (ann["userName"], ann["displayName"], ann["active"]) == ("ann@acme.example", "Ann Example", True)
    assert (await told(await http.post(USERS, json=body), 409))["scimType"] == "uniqueness"
    path = f"{USERS}/{ann['id']}"
    for query in ('userName eq "ANN@acme.example"', 'externalId eq "00u1"', f'id eq "{ann["id"]}"'):
        found = await told(await http.get(USERS, params={"filter": query}), 200)
        assert (found["totalResults"], found["Resources"]) == (1, [ann]), query
    assert (await told(await http.get(USERS, params={"filter": 'userName eq "x@y.example"'}), 200))["Resources"] == []
    page = await told(await http.get(USERS, params={"startIndex": 2, "count": 1}), 200)
    assert (page["totalResults"], page["startIndex"], [one["id"] for one in page["Resources"]]) == (2, 2, [ann["id"]])

    sessions = await directory.tokens_of("ann@acme.example")
    await told(await patch(directory, path, {"op": "Replace", "path": "displayName", "value": "Ann Other"}), 200)
    closed = await told(await patch(directory, path, {"op": "replace", "value": {"active": "False"}}), 200)
    assert (closed["displayName"], closed["active"]) == ("Ann Other", False)
    assert closed["meta"] == ann["meta"] | {"lastModified": closed["meta"]["lastModified"]}
    assert closed["meta"]["lastModified"] != ann["meta"]["lastModified"]
    refreshed = await directory.post("/v1/auth/refresh", {"refresh_token": sessions["refresh_token"]})
    assert refreshed.status_code == 401
    (row,) = await directory.query(
        "SELECT count(*) AS n FROM auth.revisions WHERE kind = 'user' AND subject = $1", ann["id"]
    )
    assert row["n"] == 1, "open tokens end within seconds"
    again = await told(await http.put(path, json={**body, "active": True}), 200)
    assert (again["active"], again["displayName"]) == (True, "Ann Example")
    assert (await told(await http.put(path, json={**body, "userName": "ben@acme.example"}), 400))[
        "scimType"
    ] == "mutability"
    assert (await http.delete(path)).status_code == 204
    gone = await told(await http.get(path), 404)
    assert (gone["schemas"], gone["status"], gone["code"]) == ([ERROR], "404", "user_not_found")


async def test_only_people_of_proven_domains_are_made_and_owners_are_left_alone(directory: Any) -> None:
    http = directory.http
    for name in ("ann@elsewhere.example", "not an address@", "", "a b"):
        assert (await told(await http.post(USERS, json={"userName": name}), 400))["scimType"] == "invalidValue"
    (boss,) = (await http.get(USERS)).json()["Resources"]
    path = f"{USERS}/{boss['id']}"
    assert (await told(await patch(directory, path, {"op": "replace", "value": {"active": False}}), 403))[
        "code"
    ] == "owners_only"
    assert (await told(await http.delete(path), 403))["code"] == "owners_only"
    assert (await http.get(USERS, headers={"Authorization": "Bearer a.b.c"})).status_code == 401
    member = await told(await http.post(USERS, json={"userName": "ann@acme.example"}), 201)
    ann = {"Authorization": f"Bearer {(await directory.tokens_of('ann@acme.example'))['access_token']}"}
    assert (await told(await http.get(f"{USERS}/{member['id']}", headers=ann), 403))["code"] == "not_allowed"


async def test_a_group_and_who_is_in_it(directory: Any) -> None:
    http = directory.http
    ann, ben = [
        (await told(await http.post(USERS, json={"userName": f"{name}@acme.example"}), 201))["id"]
        for name in ("ann", "ben")
    ]
    made = await told(
        await http.post(GROUPS, json={"displayName": "Legal", "externalId": "g1", "members": [{"value": ann}]}), 201
    )
    path = f"{GROUPS}/{made['id']}"

    async def members() -> set[str]:
        return {one["value"] for one in (await told(await http.get(path), 200))["members"]}

    assert (await told(await http.post(GROUPS, json={"displayName": "LEGAL"}), 409))["scimType"] == "uniqueness"
    found = await told(
        await http.get(GROUPS, params={"filter": 'displayName eq "legal"', "excludedAttributes": "members"}), 200
    )
    assert [one["id"] for one in found["Resources"]] == [made["id"]]
    await told(await patch(directory, path, {"op": "Add", "path": "members", "value": [{"value": ben}]}), 200)
    assert await members() == {ann, ben}
    await told(await patch(directory, path, {"op": "remove", "path": f'members[value eq "{ann}"]'}), 200)
    assert await members() == {ben}
    renamed = await told(
        await patch(
            directory,
            path,
            {"op": "replace", "value": {"displayName": "Law"}},
            {"op": "replace", "path": "members", "value": [{"value": ann}]},
        ),
        200,
    )
    assert renamed["displayName"] == "Law" and await members() == {ann}
    stranger = {"op": "add", "path": "members", "value": [{"value": str(uuid7())}]}
    assert (await told(await patch(directory, path, stranger), 400))["scimType"] == "invalidValue"
    await told(await http.put(path, json={"displayName": "Law", "members": []}), 200)
    assert await members() == set()
    assert (await http.delete(path)).status_code == 204
    assert (await told(await http.get(path), 404))["code"] == "group_not_found"


async def test_what_is_supported_is_told(directory: Any) -> None:
    configuration = await told(await directory.http.get("/scim/v2/ServiceProviderConfig"), 200)
    assert configuration["patch"]["supported"] and not configuration["bulk"]["supported"]
    for name in ("ResourceTypes", "Schemas"):
        assert [
            one["name"] for one in (await told(await directory.http.get(f"/scim/v2/{name}"), 200))["Resources"]
        ] == [
            "User",
            "Group",
        ]
    wrong = await told(await directory.http.get(USERS, params={"filter": "active eq true"}), 400)
    assert wrong["scimType"] == "invalidFilter"
    assert (await told(await directory.http.patch(f"{USERS}/{uuid7()}", json={}), 400))["scimType"] == "invalidSyntax"


async def test_an_owner_is_left_alone_by_every_change(make_world: Any) -> None:
    world = await make_world()
    tenant = await world.tenant("acme")
    await world.sign_in_as(tenant, "boss@acme.example")
    (boss,) = await world.users()
    directory = await world.service_key(tenant)
    provisioning = Provisioning(world.uow, world.sessions, world.revisions, world.clock)
    for change in (UserChange(name="Renamed"), UserChange(is_active=False), UserChange(external_id="x")):
        with pytest.raises(OwnersOnly):
            await provisioning.change_user(directory, boss.id, change)
    as_is = UserChange(name=boss.name, is_active=True)
    assert (await provisioning.change_user(directory, boss.id, as_is)).user == boss
    with pytest.raises(OwnersOnly):
        await world.members.remove(tenant.id, boss.id, directory, hand_over_to=None)
    group = await world.groups.create(directory, "Legal")
    put = GroupChange(name="Law", members=MemberChange(adds=frozenset({boss.id})))
    for act in (provisioning.create_group(directory, put), provisioning.change_group(directory, group.id, put)):
        with pytest.raises(OwnersOnly):
            await act
    await world.groups.add_member(directory, group.id, boss.id)
    with pytest.raises(OwnersOnly):
        await provisioning.change_group(directory, group.id, GroupChange(members=MemberChange(replaces=frozenset())))
    assert [user.id for user in await world.users()] == [boss.id]
    stranger = await world.service_key(await world.tenant("other"))
    with pytest.raises(UserNotFound):
        await provisioning.change_user(stranger, boss.id, UserChange(name="Mine"))


def test_filters_are_read_strictly() -> None:
    assert parse_filter('userName Eq "a\\"b"') == Filter("name", 'a"b')
    assert parse_filter('urn:ietf:params:scim:schemas:core:2.0:User:userName eq "a"') == Filter("name", "a")
    assert parse_filter("  ") is None
    for text in (
        'userName co "a"',
        "userName eq a",
        'userName eq "a" or active eq true',
        'password eq "a"',
        'eq "a"',
        'userName eq "\\u0000"',
    ):
        with pytest.raises(ScimInvalidFilter):
            parse_filter(text)


def test_patches_come_to_what_was_meant() -> None:
    one, two = uuid7(), uuid7()
    assert read_user_patch(
        [("replace", "name.givenName", "Ann"), ("add", "name.familyName", "Example"), ("replace", "active", "False")]
    ) == UserChange(name="Ann Example", is_active=False)
    assert read_user_patch(
        [("replace", None, {"name.formatted": "Ann", "title": "Dr."}), ("remove", "title", None)]
    ) == (UserChange(name="Ann"))
    assert read_user({"userName": "a", "active": True}) == UserChange(user_name="a", is_active=True)
    for value in ("maybe", 1, []):
        with pytest.raises(ScimInvalidValue):
            read_user({"active": value})
    with pytest.raises(ScimInvalidSyntax):
        read_user_patch([("replace", None, "active")])
    assert read_group_patch(
        [("add", "members", [{"value": str(one)}]), ("remove", "members", [{"value": str(two)}])]
    ) == (GroupChange(members=MemberChange(frozenset({one}), frozenset({two}))))
    assert read_group_patch([("remove", "members", None), ("add", "members", [{"value": str(one)}])]) == GroupChange(
        members=MemberChange(replaces=frozenset({one}))
    )
    assert read_group_patch([("replace", None, {"displayName": "Law"})]) == GroupChange(name="Law")
    with pytest.raises(ScimInvalidPath):
        read_group_patch([("add", "owners", [])])
    for path, value in (("members", [{"value": "nobody"}]), ("members", [{}]), ('members[value eq "\x01"]', None)):
        with pytest.raises(ScimInvalidValue):
            read_group_patch([("add", path, value)])
    for name in ("a\x00b", "a\nb", 7, "n" * 201):
        with pytest.raises(ScimInvalidValue):
            read_user({"displayName": name})
