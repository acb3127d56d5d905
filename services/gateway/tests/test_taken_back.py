"""What was signed for an operator, or by a key, that is no more."""

import uuid

from services.gateway.tests.conftest import Gateway
from services.gateway.tests.test_standing import code_of

from docuchat_common.contracts.revisions import signer_id
from docuchat_testkit.eventually import eventually


async def test_what_a_revoked_operator_shows_is_refused(gateway: Gateway) -> None:
    claims = {"typ": "operator", "scope": "operator", "tenant": None, "tenant_slug": None, "role": None, "email": None}
    revoked, other = uuid.uuid4(), uuid.uuid4()
    headers, others = (gateway.mint.headers(user_id=one, claims=claims) for one in (revoked, other))
    gateway.mint.take_back("key", revoked, tenant_id=0)
    for path in ("/v1/operator/pauses", "/v1/operator/tenants"):  # its own, and one that is relayed

        async def refused(path: str = path) -> bool:
            return await code_of(gateway, headers, path=path) == (401, "session_ended")

        await eventually(refused)
        assert (await code_of(gateway, others, path=path))[0] != 401


async def test_what_a_dropped_key_signed_is_refused_whoever_still_publishes_it(gateway: Gateway) -> None:
    kid, old = gateway.mint.kid, gateway.headers()
    gateway.mint.rotate()
    assert (await code_of(gateway, old))[0] == 200
    gateway.mint.take_back("key", signer_id(kid), tenant_id=0)

    async def refused() -> bool:
        return await code_of(gateway, old) == (401, "session_ended")

    await eventually(refused)
    assert (await code_of(gateway, gateway.headers()))[0] == 200
