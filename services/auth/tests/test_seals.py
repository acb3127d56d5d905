"""What an earlier release sealed opens in each later one: these bytes were made before there was one `Seal`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from docuchat_auth.federated_logins.domain import Flow
from docuchat_auth.federated_logins.store import PendingSignIns
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_auth.second_factors.totp import TotpSeal
from docuchat_auth.signing_keys.domain import SigningAlgorithm, SigningKey
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_auth.users.domain import User
from docuchat_common.contracts.permissions import Role
from docuchat_common.idempotency import StoredResponse
from docuchat_common.ids import TenantId, UserId
from docuchat_common.redis import open_redis
from docuchat_common.sealing import Seal, SealedAnswers
from docuchat_testkit.eventually import SLOWLY

from .conftest import SECRET

TENANT, ID, THEN = TenantId(7), UUID("01932f4e-7c00-7000-8000-000000000001"), datetime(2026, 11, 22, tzinfo=UTC)
OF_A_USER = bytes.fromhex(
    "19c40fd8b7d3bc0f4d41e5b03445c63c745cc4b97511ddb02120d33c33fc8e6705fe573a45972cbb2993916b"
)  # fmt: skip
OF_A_CLIENT = bytes.fromhex(
    "17bfe412f2fd2beb469d7d70f9007e6adc7ae0549ea88d443159bc2ae3dbea5dc2a3df7451c1e383a0"
)  # fmt: skip
ANSWER = bytes.fromhex(
    "5093454fb0a3f6e0611a96814f566dad1a68f789570dccfd18cab0afd5134121a5d247d82bac53f6042017"
)  # fmt: skip
FLOW_KEY = "auth:oidc:flow:4ba69735ca53765ed6a709edb56c6ea236b7193a3b29a6b390c346f0f4340e4e"
FLOW = bytes.fromhex(
    "628e09f8d8422757373b7872c4cb9a73be532844b74f5e7485dd7274b0ff4ceeafcea78ab7ee5c96fed7e39e2740268e39d7f0b0cf82968d"
    "67024603a864b75a05f0e6182b2125004b3c48efa87936d6f0ae07aa315101a230350811734a0c9411a4febc5cdd764226a36e7f7001d12f"
    "d0f4e8e0447b7f3a7576d945803becee940a4de4a086360d89c0a0a67bd9c373597c840b543a6b9354d0a85ca2ed1dc0ee114029da97226d"
    "0f60f819fdde6cfb4e6e6d83a287dc09f9be3023be4424e30840202f1a9dd04d259f0bbf1229"
)
SIGNING_KEY = bytes.fromhex(
    "cbd245a3627c3b8b98f6bf4e114f6a7fe91524435d6a0aa5218faa3b783b9d42a624fd974673ce783979a169a54fe3691dbab6e29b319a90"
    "2d5e21ab9e3e8f8c358df5ae36d77a21e000e3fc"
)


def test_secrets_of_authenticator_apps_open() -> None:
    user = User(TENANT, UserId(ID), None, None, None, None, Role.MEMBER, True, 1, THEN, THEN, None)
    assert TotpSeal(SECRET).open(user, OF_A_USER) == "JBSWY3DPEHPK3PXP"


def test_secrets_of_clients_open() -> None:
    assert SealedSecrets(SECRET).open(OF_A_CLIENT, TENANT, ID) == "of the client"


def test_answers_open() -> None:
    assert SealedAnswers(SECRET).open(StoredResponse(201, ANSWER), "once").body == b'{"key":"dck_1"}'


def test_signing_keys_open() -> None:
    kid = "ItNiL0kbL2oDeheOXLcs2pI-fbb3IUPRzZjDhoGPSAY"
    key = SigningKey(kid, SigningAlgorithm.EDDSA, {"kid": kid}, SIGNING_KEY, THEN, THEN, None)
    assert SealedKeyForge(SECRET).can_open(key)


async def test_sign_ins_on_their_way_open(redis_url: str) -> None:
    async with open_redis(redis_url, client_name="test-auth", timeout=SLOWLY) as client:
        await client.set(FLOW_KEY, FLOW)
        flow = await PendingSignIns(client, SECRET).take_flow("state")
    assert flow == Flow(TENANT, ID, "nonce", "verifier", "browser", "https://app.example", "challenge")


@pytest.mark.parametrize("spoil", [lambda s: s[:-1], lambda s: s[:-1] + bytes([s[-1] ^ 1]), lambda s: s[12:]])
def test_what_was_altered_or_is_somebody_elses_does_not_open(spoil: Callable[[bytes], bytes]) -> None:
    seal = Seal(SECRET, "one")
    sealed = seal.close(b"a secret", "ann")
    assert seal.open(sealed, "ann") == b"a secret" and seal.close(b"a secret", "ann") != sealed
    others: list[Any] = [seal.open(spoil(sealed), "ann"), seal.open(sealed, "bob"), Seal(SECRET, "two").open(sealed)]
    assert others == [None, None, None]
