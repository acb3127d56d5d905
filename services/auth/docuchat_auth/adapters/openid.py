"""Identity providers, over HTTP: discovery, keys, tokens and user info."""

import base64
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote

import orjson
import structlog
from joserfc.jwk import KeySet
from yarl import URL

from docuchat_auth.adapters.provider_memory import ProviderMemory
from docuchat_auth.federated_logins.domain import Person, ProviderMetadata
from docuchat_auth.federated_logins.errors import IdentityProviderUnavailable, ProviderAnswerInvalid
from docuchat_auth.federated_logins.id_tokens import UnknownKey, listed, read_id_token, signing_keys
from docuchat_auth.identity_providers.domain import IdentityProvider
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_auth.users.addresses import parse_address
from docuchat_auth.users.domain import Email
from docuchat_common.clock import Clock
from docuchat_common.egress import Egress, EgressPolicy, Fetched, UrlRefused, UrlUnreachable
from docuchat_common.ids import TenantId
from docuchat_common.text import one_line

logger = structlog.get_logger()

_DISCOVERY: Final = "/.well-known/openid-configuration"
_LONGEST_ANSWER: Final = 256 * 2**10
_LONGEST_URL: Final = 2000
_LONGEST_NAME: Final = 200
_MOST_VALUES: Final = 2000

JsonObject = dict[str, Any]


class OpenIdClient:
    """Every address, also one that a provider names, is called through the guard; whatever it answers is bounded.

    What a tenant's providers do costs its own people alone: calls of a tenant share a lane, and places of the memory.
    """

    def __init__(self, egress: Egress, policy: EgressPolicy, secrets: SealedSecrets, clock: Clock) -> None:
        self._egress = egress
        self._policy = policy
        self._secrets = secrets
        self._clock = clock
        self._memory = ProviderMemory(clock)

    async def discover(self, provider: IdentityProvider) -> ProviderMetadata:
        """What the provider tells of itself. Raises IdentityProviderUnavailable."""
        ask = partial(self._discover, provider.tenant_id, provider.issuer)
        return await self._memory.get(provider.tenant_id, provider.issuer, ask)

    async def _discover(self, tenant_id: TenantId, issuer: str) -> ProviderMetadata:
        document = await self._document(tenant_id, issuer.rstrip("/") + _DISCOVERY)
        if document.get("issuer") != issuer:
            raise IdentityProviderUnavailable("The identity provider calls itself by another issuer than was set.")
        methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        return ProviderMetadata(
            issuer,
            self._url(document, "authorization_endpoint"),
            self._url(document, "token_endpoint"),
            self._url(document, "jwks_uri"),
            self._url(document, "userinfo_endpoint") if document.get("userinfo_endpoint") else None,
            document.get("authorization_response_iss_parameter_supported") is True,
            "client_secret_basic" in listed(methods),
        )

    async def redeem(
        self, provider: IdentityProvider, code: str, *, redirect_uri: str, verifier: str, nonce: str
    ) -> Person:
        """Who somebody is, for a code. Raises ProviderAnswerInvalid, IdentityProviderUnavailable."""
        metadata = await self.discover(provider)
        tokens = await self._tokens(provider, metadata, code, redirect_uri, verifier)
        id_token, access_token = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(id_token, str):
            raise ProviderAnswerInvalid
        access_token = access_token if isinstance(access_token, str) else None
        claims = await self._claims(provider, metadata, id_token, access_token, nonce)
        is_enough = "email" in claims and (provider.groups_claim in claims or not provider.mappings)
        if not is_enough and metadata.userinfo_endpoint and access_token:
            told = await self._user_info(provider.tenant_id, metadata.userinfo_endpoint, access_token)
            if told.get("sub") != claims["sub"]:
                raise ProviderAnswerInvalid
            claims = joined(told, claims)
        return person_of(claims, provider.groups_claim)

    async def _claims(
        self, provider: IdentityProvider, metadata: ProviderMetadata, text: str, access_token: str | None, nonce: str
    ) -> JsonObject:
        def read(keys: KeySet) -> JsonObject:
            return read_id_token(
                text,
                keys,
                issuer=metadata.issuer,
                client_id=provider.client_id,
                nonce=nonce,
                access_token=access_token,
                moment=self._clock.now(),
            )

        tenant_id, url = provider.tenant_id, metadata.jwks_uri
        ask = partial(self._keys, tenant_id, url)
        try:
            return read(await self._memory.get(tenant_id, url, ask))
        except UnknownKey:  # the provider may have new keys
            self._memory.forget(tenant_id, url)
        try:
            return read(await self._memory.get(tenant_id, url, ask))
        except UnknownKey as error:
            raise ProviderAnswerInvalid from error

    async def _tokens(
        self, provider: IdentityProvider, metadata: ProviderMetadata, code: str, redirect_uri: str, verifier: str
    ) -> JsonObject:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
            "client_id": provider.client_id,
        }
        headers = {"Accept": "application/json"}
        if provider.sealed_secret is not None:
            secret = self._secrets.open(provider.sealed_secret, provider.tenant_id, provider.id)
            if secret is None:
                logger.error("identity_provider.secret_unreadable", provider_id=str(provider.id))
                raise IdentityProviderUnavailable("The client's secret cannot be read any more; set it anew.")
            if metadata.takes_basic:
                pair = f"{quote(provider.client_id, safe='')}:{quote(secret, safe='')}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
            else:
                form["client_secret"] = secret
        answer = await self._fetch(provider.tenant_id, "POST", metadata.token_endpoint, headers, form)
        if 400 <= answer.status < 500:
            logger.warning("oidc.code_refused", provider_id=str(provider.id), status=answer.status)
            raise ProviderAnswerInvalid("The identity provider does not take its own code, or not our secret.")
        return _parsed(answer.status, answer.body)

    async def _user_info(self, tenant_id: TenantId, url: str, access_token: str) -> JsonObject:
        answer = await self._fetch(tenant_id, "GET", url, {"Authorization": f"Bearer {access_token}"})
        return _parsed(answer.status, answer.body)

    async def _keys(self, tenant_id: TenantId, url: str) -> KeySet:
        return signing_keys(await self._document(tenant_id, url))

    async def _document(self, tenant_id: TenantId, url: str) -> JsonObject:
        answer = await self._fetch(tenant_id, "GET", url)
        return _parsed(answer.status, answer.body)

    async def _fetch(
        self,
        tenant_id: TenantId,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Fetched:
        try:
            return await self._egress.fetch(
                method, url, headers=headers, data=form, lane=tenant_id, max_bytes=_LONGEST_ANSWER
            )
        except (UrlRefused, UrlUnreachable) as error:
            raise IdentityProviderUnavailable from error

    def _url(self, document: JsonObject, name: str) -> str:
        """An address of the provider's; a browser is sent to no other scheme either."""
        try:
            url = document[name]
            if len(url) > _LONGEST_URL:
                raise UrlRefused
            self._policy.assert_allowed(URL(url))
        except (KeyError, TypeError, ValueError, UrlRefused, UrlUnreachable) as error:
            raise IdentityProviderUnavailable(f"The identity provider tells no usable {name}.") from error
        return str(url)


def joined(told: JsonObject, claims: JsonObject) -> JsonObject:
    """The ID token's claims and what else the user info tells; who names the address says whether it is confirmed."""
    names_it = claims if "email" in claims else told
    confirmed = {"email_verified": names_it.get("email_verified")}
    return {**told, **claims, **confirmed}


def person_of(claims: JsonObject, groups_claim: str) -> Person:
    """What counts of somebody's claims."""
    email: Email | None = None
    try:
        email = Email(parse_address(str(claims["email"]))) if claims.get("email") else None
    except ValueError:
        logger.info("oidc.address_unreadable")
    name = claims.get("name")
    name = one_line(name)[:_LONGEST_NAME].strip() if isinstance(name, str) else ""
    return Person(
        claims["sub"],
        email,
        # some providers say it as a text; whatever else they say is no
        claims.get("email_verified") is True or claims.get("email_verified") == "true",
        name or None,
        _values(claims, groups_claim),
    )


def _values(claims: JsonObject, groups_claim: str) -> frozenset[str] | None:
    """None where the provider says that there are more than it tells (an "overage" of Entra)."""
    elsewhere = claims.get("_claim_names")
    if isinstance(elsewhere, dict) and groups_claim in elsewhere:
        logger.warning("oidc.groups_elsewhere")
        return None
    return frozenset(listed(claims.get(groups_claim))[:_MOST_VALUES])


def _parsed(status: int, body: bytes) -> JsonObject:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise IdentityProviderUnavailable from error
    if status != 200 or not isinstance(document, dict):
        raise IdentityProviderUnavailable
    return document
