"""What an identity provider may say, and what of it is believed."""

import ipaddress
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from joserfc import jwt

from docuchat_auth.adapters.openid import OpenIdClient, person_of
from docuchat_auth.federated_logins.domain import Person, challenge_of, new_secret
from docuchat_auth.federated_logins.errors import IdentityProviderUnavailable, ProviderAnswerInvalid
from docuchat_auth.identity_providers.domain import GroupMapping, IdentityProvider, JoinRule
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_common.contracts.permissions import Role
from docuchat_common.egress import EgressPolicy, open_egress
from docuchat_common.ids import TenantId, uuid7

from .conftest import SECRET, ManualClock
from .provider import (
    CLIENT,
    CLIENT_SECRET,
    KEYS,
    SigningProvider,
    by_hand,
    endless,
    public,
    redirect,
    serving_provider,
)

HERE = EgressPolicy(allow_http=True, networks=(ipaddress.ip_network("127.0.0.0/8"),), hosts=frozenset({"127.0.0.1"}))
BACK = "https://docuchat.example/v1/auth/oidc/callback/1"


@dataclass
class Party:
    """A client of the provider, and what it asks."""

    provider: SigningProvider
    client: OpenIdClient
    known: IdentityProvider
    nonce: str = "the nonce of this sign-in"

    async def sign_in(self, *, verifier: str | None = None, redirect_uri: str = BACK) -> Person:
        """One whole sign-in."""
        own = new_secret()
        metadata = await self.client.discover(self.known)
        asked = {
            "response_type": "code",
            "redirect_uri": BACK,
            "state": "s",
            "nonce": self.nonce,
            "code_challenge": challenge_of(own),
            "code_challenge_method": "S256",
        }
        url = f"{metadata.authorization_endpoint}?" + "&".join(f"{name}={value}" for name, value in asked.items())
        code = self.provider.authorize(url.replace(" ", "%20"))["code"]
        return await self.client.redeem(
            self.known, code, redirect_uri=redirect_uri, verifier=verifier or own, nonce=self.nonce
        )


def known_as(provider: SigningProvider, **changes: Any) -> IdentityProvider:
    secrets, tenant_id, provider_id = SealedSecrets(SECRET), TenantId(1), uuid7()
    fields: dict[str, Any] = {
        "tenant_id": tenant_id,
        "id": provider_id,
        "name": "Acme",
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "sealed_secret": secrets.close(CLIENT_SECRET, tenant_id, provider_id),
        "scopes": ("openid", "email"),
        "is_active": True,
        "join": JoinRule(is_enabled=True),
        "groups_claim": "groups",
        "mappings": (),
        "links_owners": False,
        "created_at": provider.clock.now(),
    }
    return IdentityProvider(**{**fields, **changes})


@pytest.fixture
async def party(clock: ManualClock) -> AsyncIterator[Party]:
    async with serving_provider(clock) as provider, open_egress(HERE) as egress:
        client = OpenIdClient(egress, HERE, SealedSecrets(SECRET), clock)
        provider.person = {"sub": "ann-at-acme", "email": "Ann@Acme.example", "email_verified": True, "name": "Ann\n A"}
        yield Party(provider, client, known_as(provider))


async def test_a_person_is_who_the_signed_token_names(party: Party) -> None:
    person = await party.sign_in()
    assert person == Person("ann-at-acme", "ann@acme.example", True, "Ann A", frozenset())  # type: ignore[arg-type] - Email
    assert party.provider.forms[0]["grant_type"] == "authorization_code"
    assert await party.sign_in() == person
    assert party.provider.asked.count("/keys") == 1, "keys and discovery are remembered"


def signed_with(key: Any, header: dict[str, Any]) -> Callable[[dict[str, Any]], str]:
    return lambda claims: jwt.encode(header, claims, key, algorithms=[header["alg"]])


def public_key_as_secret(claims: dict[str, Any]) -> str:
    return by_hand({"alg": "HS256", "kid": "first"}, claims, KEYS[0].as_pem(private=False))


FORGED: dict[str, Callable[[dict[str, Any]], str]] = {
    "unsigned": lambda claims: by_hand({"alg": "none"}, claims),
    "unsigned, of a known key": lambda claims: by_hand({"alg": "none", "kid": "first"}, claims),
    "the public key as a shared secret": public_key_as_secret,
    "another key under a known name": signed_with(KEYS[1], {"alg": "RS256", "kid": "first"}),
    "a key that nobody published": signed_with(KEYS[1], {"alg": "RS256", "kid": "second"}),
    "a key that it brings along": lambda claims: jwt.encode(
        {"alg": "RS256", "kid": "first", "jwk": KEYS[1].as_dict(private=False)}, claims, KEYS[1], algorithms=["RS256"]
    ),
    "no token at all": lambda _: "a.b.c",
}
TWISTED: dict[str, dict[str, Any]] = {
    "the nonce of another sign-in": {"nonce": "another"},
    "no nonce": {"nonce": None},
    "for another client": {"aud": "another"},
    "for several, made for another": {"aud": [CLIENT, "another"], "azp": "another"},
    "for several, for nobody in particular": {"aud": [CLIENT, "another"]},
    "made for another": {"azp": "another"},
    "of another issuer": {"iss": "https://accounts.example"},
    "expired": {"exp": 1},
    "without an end": {"exp": None},
    "of the future": {"iat": 4_000_000_000},
    "not valid yet": {"nbf": 4_000_000_000},
    "of another access token": {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
    "of nobody": {"sub": None},
    "of somebody without a name": {"sub": ""},
    "of a subject that is no text": {"sub": 7},
    "of a subject that is too long": {"sub": "s" * 256},
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_token_that_the_provider_did_not_sign_is_refused(party: Party, name: str) -> None:
    party.provider.forge = FORGED[name]
    with pytest.raises(ProviderAnswerInvalid):
        await party.sign_in()


@pytest.mark.parametrize("name", TWISTED)
async def test_a_token_of_another_sign_in_client_issuer_or_time_is_refused(party: Party, name: str) -> None:
    def twist(claims: dict[str, Any]) -> None:
        claims.update(TWISTED[name])
        for claim in [claim for claim, value in claims.items() if value is None]:
            del claims[claim]

    party.provider.twist = twist
    with pytest.raises(ProviderAnswerInvalid):
        await party.sign_in()


async def test_new_keys_are_asked_for_once(party: Party) -> None:
    await party.sign_in()
    party.provider.key, party.provider.header = KEYS[1], {"alg": "RS256", "kid": "second"}
    party.provider.jwks = public(*KEYS)
    await party.sign_in()
    assert party.provider.asked.count("/keys") == 2
    party.provider.header = {"alg": "RS256", "kid": "unheard of"}
    with pytest.raises(ProviderAnswerInvalid):
        await party.sign_in()
    assert party.provider.asked.count("/keys") == 3


async def test_a_code_is_redeemed_with_its_verifier_and_its_way_back(party: Party) -> None:
    for wrong in ({"verifier": new_secret()}, {"redirect_uri": BACK + "0"}):
        with pytest.raises(ProviderAnswerInvalid):
            await party.sign_in(**wrong)  # type: ignore[arg-type] - texts


ODD: dict[str, tuple[str, Callable[[], web.StreamResponse]]] = {
    "a page instead of a discovery": (
        "/.well-known/openid-configuration",
        lambda: web.Response(text="<html>hello</html>", content_type="text/html"),
    ),
    "a discovery of a gigabyte": ("/.well-known/openid-configuration", endless),
    "a discovery inside of the cloud": (
        "/.well-known/openid-configuration",
        redirect("http://169.254.169.254/latest/meta-data"),
    ),
    "a discovery on the network inside": ("/.well-known/openid-configuration", redirect("http://10.0.0.1/")),
    "keys of a gigabyte": ("/keys", endless),
    "keys inside of the cloud": ("/keys", redirect("http://169.254.169.254/")),
    "a list instead of keys": ("/keys", lambda: web.json_response([])),
    "tokens of a gigabyte": ("/token", endless),
    "tokens elsewhere": ("/token", redirect("http://169.254.169.254/")),
    "an error": ("/token", lambda: web.Response(status=500)),
}


@pytest.mark.parametrize("name", ODD)
async def test_a_provider_that_answers_nonsense_is_unavailable(party: Party, name: str) -> None:
    path, answer = ODD[name]
    party.provider.odd[path] = answer
    with pytest.raises(IdentityProviderUnavailable):
        await party.sign_in()


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://accounts.example"},
        {"jwks_uri": "http://169.254.169.254/keys"},
        {"token_endpoint": "http://10.0.0.1/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
        {"jwks_uri": 7},
    ],
)
async def test_a_provider_leads_nowhere_inside(party: Party, metadata: dict[str, Any]) -> None:
    party.provider.metadata = metadata
    with pytest.raises(IdentityProviderUnavailable):
        await party.sign_in()


async def test_what_the_token_leaves_out_is_asked_for_and_is_of_the_same_person(party: Party) -> None:
    party.provider.person = {"sub": "ann-at-acme"}
    party.provider.user_info = {"sub": "ann-at-acme", "email": "ann@acme.example", "groups": ["legal"], "iss": "x"}
    party.known = known_as(party.provider, mappings=(GroupMapping("legal", None, Role.ADMIN),))
    person = await party.sign_in()
    assert (person.email, person.email_is_verified, person.values) == ("ann@acme.example", False, {"legal"})
    party.provider.user_info["sub"] = "somebody else"
    with pytest.raises(ProviderAnswerInvalid):
        await party.sign_in()


async def test_a_secret_of_another_tenant_or_another_provider_is_not_read(party: Party) -> None:
    sealed = party.known.sealed_secret
    assert sealed is not None and CLIENT_SECRET.encode() not in sealed
    with pytest.raises(IdentityProviderUnavailable):
        party.known = known_as(party.provider, sealed_secret=sealed)
        await party.sign_in()


def test_an_address_is_confirmed_by_nothing_but_a_plain_yes() -> None:
    def is_confirmed(value: object) -> bool:
        return person_of({"sub": "a", "email": "a@acme.example", "email_verified": value}, "groups").email_is_verified

    assert [value for value in (True, "true", "false", "TRUE", 1, [True], {}, None) if is_confirmed(value)] == [
        True,
        "true",
    ]
    assert person_of({"sub": "a", "email": "not an address"}, "groups").email is None


def test_groups_that_stand_elsewhere_are_not_taken_for_none() -> None:
    assert person_of({"sub": "a", "_claim_names": {"groups": "src1"}}, "groups").values is None
    assert person_of({"sub": "a", "groups": "legal"}, "groups").values == {"legal"}
    assert person_of({"sub": "a", "groups": ["legal", 7]}, "groups").values == {"legal"}
    assert person_of({"sub": "a"}, "groups").values == frozenset()
