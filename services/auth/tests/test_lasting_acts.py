"""What outlives the token that did it: whoever may do it no more does it no more, whatever the token says."""

import re
from typing import Any

from docuchat_auth.app import create_app
from docuchat_auth.settings import Settings
from docuchat_common.ids import uuid7

SCIM = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}
BODIES: dict[str, dict[str, Any]] = {
    "changeMember": {"role": "admin", "active": True},
    "changeOwnTenant": {"name": "Mine"},
    "createDomain": {"domain": "evil.example"},
    "createGroup": {"name": "Ours"},
    "renameGroup": {"name": "Ours"},
    "createIdentityProvider": {"name": "Evil", "issuer": "https://id.evil.example", "client_id": "docuchat"},
    "changeIdentityProvider": {"name": "Evil"},
    "invite": {"email": "eve@evil.example", "role": "admin"},
    "scimCreateUser": {"userName": "eve@evil.example"},
    "scimReplaceUser": {"userName": "eve@evil.example", "active": True},
    "scimPatchUser": {**SCIM, "Operations": [{"op": "replace", "value": {"active": True}}]},
    "scimCreateGroup": {"displayName": "Ours"},
    "scimReplaceGroup": {"displayName": "Ours", "members": []},
    "scimPatchGroup": {**SCIM, "Operations": [{"op": "replace", "value": {"displayName": "Ours"}}]},
}
"""What each operation that takes something is asked with."""
MANAGING = (".manage", ".own", ".sync")


def managing() -> list[tuple[str, str, str]]:
    """Every operation that changes what only some may: its method, path and id."""
    document = create_app(Settings.model_construct()).openapi()
    return [
        (method, path, operation["operationId"])
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method != "get" and operation.get("x-permission", "").endswith(MANAGING)
    ]


async def test_nobody_who_was_demoted_leaves_anything_that_lasts(auth: Any) -> None:
    await auth.tokens_of("boss@acme.example")
    await auth.tokens_of("eve@acme.example")
    whose = "WHERE email = 'eve@acme.example'"
    await auth.query(f"UPDATE auth.users SET role = 'owner' {whose}")
    eve = {"Authorization": f"Bearer {(await auth.tokens_of('eve@acme.example'))['access_token']}"}
    await auth.query(f"UPDATE auth.users SET role = 'viewer' {whose}")
    operations = managing()
    assert len(operations) >= 25
    done = {}
    for method, path, name in operations:
        path = re.sub(r"\{\w+\}", str(uuid7()), path)  # noqa: PLW2901 - filled in
        params = {"confirm": "demo"} if name == "deleteOwnTenant" else None
        answer = await auth.http.request(method, path, json=BODIES.get(name), params=params, headers=eve)
        if answer.status_code != 403 or answer.json()["code"] not in {"not_allowed", "owners_only"}:
            done[name] = (answer.status_code, answer.text)
    assert done == {}
