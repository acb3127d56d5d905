"""Who is calling: access tokens checked against auth's published keys, in every service.

The algorithm is pinned to asymmetric signatures, the key is chosen by `kid` among the published ones only, and issuer,
audience, expiry and type are required (RFC 8725, RFC 9068).
"""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

import aiohttp
import jwt
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers

from docuchat_common.acts import note_caller
from docuchat_common.background import Background
from docuchat_common.clock import Clock, SystemClock
from docuchat_common.contracts.permissions import Action
from docuchat_common.errors import Forbidden, Unauthenticated, UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.claims import Identity, InvalidToken, identity_of
from docuchat_common.http.problems import raises
from docuchat_common.settings import ServiceSettings

ALGORITHMS: Final = ("EdDSA", "ES256")
INTERNAL_HEADER: Final = "X-Internal-Token"
_REQUIRED: Final = ("iss", "aud", "sub", "exp", "iat", "jti", "typ")
_UNKNOWN_KID_PAUSE_SECONDS: Final = 2.0
_START_PAUSE_SECONDS: Final = 0.1
_NO_KEYS: Final = (aiohttp.ClientError, TimeoutError, jwt.PyJWTError, ValueError)
_REMEMBERED_TOKENS: Final = 10_000

PublishedKeys = Callable[[], Awaitable[dict[str, Any]]]
"""Gives auth's JSON Web Key Set (RFC 7517) as it is now."""


class TokenExpired(Unauthenticated):
    """The access token has expired; use the refresh token or sign in again."""

    code = "token_expired"


class InvalidApiKey(Unauthenticated):
    """The API key is wrong, has expired or was revoked; make another with POST /v1/api-keys."""

    code = "invalid_api_key"


class AddressNotAllowed(Forbidden):
    """This API key may not be used from this address; its `addresses` say from where."""

    code = "address_not_allowed"


class TenantMismatch(Forbidden):
    """The tenant header names another tenant than the token; leave the header out or send the token's own tenant."""

    code = "tenant_mismatch"


class OriginNotAllowed(Forbidden):
    """This page may not ask the chatbot; the chatbot's `origins` name the pages that may."""

    code = "origin_not_allowed"


class OperatorToken(Unauthenticated):
    """This is an operator's token, which opens /v1/operator only; sign in as a user of a tenant."""

    code = "operator_token"


class OperatorRequired(Forbidden):
    """Only an operator may do this; exchange an operator's credential at POST /v1/operator/token."""

    code = "operator_required"


class TokenVerifier:
    """Verifies access tokens offline, with keys that auth is asked for beside the requests, and for a new `kid`.

    While auth does not answer, the keys that are there serve on.
    """

    def __init__(
        self,
        published: PublishedKeys,
        *,
        issuer: str,
        audience: str,
        clock: Clock | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`elapsed` are seconds that only grow, by which keys age."""
        self._published = published
        self._issuer = issuer
        self._audience = audience
        self._clock = clock or SystemClock()
        self._elapsed = elapsed
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = self._sought_at = float("-inf")
        self._is_away = False
        self._lock = asyncio.Lock()
        self._verified: dict[str, Identity] = {}

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        settings: ServiceSettings,
        *,
        published: PublishedKeys | None = None,
        refresh_every: timedelta = timedelta(seconds=2),
        patience: timedelta = timedelta(seconds=10),
    ) -> AsyncIterator["TokenVerifier"]:
        """A verifier whose keys are renewed while the block runs: from `published`, else over HTTP from auth.

        The block begins with the keys: a process that takes a running one's place refuses nobody for want of them.
        After `patience` it begins without.
        """
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session, Background() as background:
            verifier = cls(
                published or keys_of_auth(session, f"{settings.auth_url.rstrip('/')}/.well-known/jwks.json"),
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
            )
            background.every("identity keys", refresh_every, verifier.refresh)
            with suppress(TimeoutError):
                async with asyncio.timeout(patience.total_seconds()):
                    await verifier._wait_for_keys()
            yield verifier

    async def verify(self, token: str) -> Identity:
        """The identity in the access token `token` of a tenant's caller.

        Raises InvalidToken, TokenExpired or OperatorToken, and UpstreamUnavailable while there is no key.
        """
        identity = await self._verify(token)
        if identity.caller.subject_type == "operator":
            raise OperatorToken
        return identity

    async def verify_operator(self, token: str) -> Identity:
        """As `verify`, for an operator's token; any other valid token is OperatorRequired."""
        identity = await self._verify(token)
        if identity.caller.subject_type != "operator":
            raise OperatorRequired
        return identity

    async def identify(self, token: str) -> Identity:
        """As `verify`, for an operator's token as well: for who only asks whose it is."""
        return await self._verify(token)

    def permit(self, identity: Identity, action: Action, method: str) -> None:
        """Raise NotAllowed unless who is `identity` may do `action`; `method` is the request's, for who asks more."""
        identity.caller.require(action)

    async def _verify(self, token: str) -> Identity:
        remembered = self._verified.get(token)
        if remembered is not None:
            if remembered.expires_at <= self._clock.now().timestamp():
                del self._verified[token]
                raise TokenExpired
            return remembered
        key = await self._key_for(token)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name] if key.algorithm_name in ALGORITHMS else [],
                issuer=self._issuer,
                audience=self._audience,
                options={"require": list(_REQUIRED)},
            )
        except jwt.ExpiredSignatureError as error:
            raise TokenExpired from error
        except (jwt.PyJWTError, ValueError) as error:
            raise InvalidToken from error
        identity = identity_of(claims, token, str(key.key_id))
        if len(self._verified) >= _REMEMBERED_TOKENS:
            self._verified.clear()
        self._verified[token] = identity
        return identity

    async def check(self) -> None:
        """Raise UpstreamUnavailable while there are no keys (readiness)."""
        if not self._keys:
            await self.refresh()

    async def _wait_for_keys(self) -> None:
        while not self._keys:
            with suppress(UpstreamUnavailable):
                await self.refresh()
                return
            await asyncio.sleep(_START_PAUSE_SECONDS)

    async def refresh(self) -> None:
        """Ask auth for its keys; who comes meanwhile shares the outcome. UpstreamUnavailable when it does not say."""
        asked_at = self._asked_at
        async with self._lock:
            if self._asked_at == asked_at:  # nobody else did while we waited
                is_away = True  # also when we are cancelled; known when it ends, since others go on meanwhile
                try:
                    await self._fetch()
                    is_away = False
                except _NO_KEYS as error:
                    raise self._unavailable() from error
                finally:
                    self._is_away, self._asked_at = is_away, self._elapsed()
            elif self._is_away:
                raise self._unavailable()

    async def _key_for(self, token: str) -> jwt.PyJWK:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError) as error:
            raise InvalidToken(
                "The access token is malformed; send the `access_token` you got when signing in."
            ) from error
        kid = header.get("kid")
        if not isinstance(kid, str) or header.get("alg") not in ALGORITHMS:
            raise InvalidToken
        if kid not in self._keys:
            # a new key, or an attack: ask again, but seldom
            if self._elapsed() - self._sought_at > _UNKNOWN_KID_PAUSE_SECONDS:
                try:
                    await self.refresh()
                finally:
                    self._sought_at = self._elapsed()
            elif self._is_away:
                raise self._unavailable()
        key = self._keys.get(kid)
        if key is None:
            raise InvalidToken
        return key

    async def _fetch(self) -> None:
        document = jwt.PyJWKSet.from_dict(await self._published())
        keys = {key.key_id: key for key in document.keys if key.key_id is not None}
        if self._keys.keys() - keys.keys():
            self._verified.clear()  # a key was withdrawn, and its tokens with it
        self._keys = keys

    @staticmethod
    def _unavailable() -> UpstreamUnavailable:
        return UpstreamUnavailable(
            "The auth service does not answer; try again shortly.", retry_after=timedelta(seconds=2)
        )


def keys_of_auth(session: aiohttp.ClientSession, url: str) -> PublishedKeys:
    """The keys that auth serves at `url`."""

    async def published() -> dict[str, Any]:
        async with session.get(url) as response:
            response.raise_for_status()
            found: dict[str, Any] = await response.json()
            return found

    return published


def bearer_token(headers: Headers) -> str:
    """The token of an `Authorization: Bearer` header; Unauthenticated without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated
    return token.strip()


def assert_same_tenant(identity: Identity, named: str | None) -> None:
    """TenantMismatch when the tenant header (id, customer id or slug) names another tenant than the token."""
    if named is None or not named.strip():
        return
    name = named.strip()
    if name not in {str(identity.caller.tenant_id), identity.tenant_slug} and name.lower() != identity.customer_id:
        raise TenantMismatch


def assert_same_origin(identity: Identity, headers: Headers) -> None:
    """OriginNotAllowed when a visitor's token comes from another page than it was made for, or from none.

    A page cannot choose these headers, so a token that was copied from one is of no use to any other.
    """
    if identity.origin is not None and _origins(headers) != [identity.origin]:
        raise OriginNotAllowed


def _origins(headers: Headers) -> list[str]:
    """The origins of the page that asks: one in `Origin`, or, where a browser leaves that out, that of `Referer`.

    It does so where a page GETs from its own server (Fetch, "append a request `Origin` header"); a page can shorten
    `Referer` there, and choose it only among its own addresses.
    """
    named = headers.getlist("origin")
    if named or headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return named
    return [origin for referrer in headers.getlist("referer") if (origin := _origin_of(referrer)) is not None]


def _origin_of(address: str) -> str | None:
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}"


_bearer = HTTPBearer(auto_error=False, description="The `access_token` of POST /v1/auth/verify-code.")
_operator_bearer = HTTPBearer(
    auto_error=False, scheme_name="Operator", description="The `access_token` of POST /v1/operator/token."
)


NO_IDENTITY: Final = (Unauthenticated, InvalidToken, TokenExpired, OperatorToken, TenantMismatch)
"""What whoever shows no token, or one that is not good here, is told."""


@raises(*NO_IDENTITY)
async def current_identity(request: Request, _: Annotated[Any, Depends(_bearer)]) -> Identity:
    """What the caller's token says; the service's container has `verifier` and `settings`."""
    container = request.app.state.container
    identity: Identity = await container.verifier.verify(bearer_token(request.headers))
    assert_same_tenant(identity, request.headers.get(container.settings.tenant_header))
    note_caller(identity.caller)
    structlog.contextvars.bind_contextvars(tenant_id=identity.caller.tenant_id)
    return identity


CurrentIdentity = Annotated[Identity, Depends(current_identity)]


@raises(Unauthenticated, InvalidToken, TokenExpired, OperatorRequired)
async def current_operator(request: Request, _: Annotated[Any, Depends(_operator_bearer)]) -> Caller:
    """The operator who calls; OperatorRequired for anybody else who is signed in."""
    identity: Identity = await request.app.state.container.verifier.verify_operator(bearer_token(request.headers))
    note_caller(identity.caller)
    return identity.caller


vars(current_operator)["permission"] = "operator"

CurrentOperator = Annotated[Caller, Depends(current_operator)]


async def require_internal_token(request: Request) -> None:
    """Only for callers inside: `X-Internal-Token` must be the shared secret."""
    if not is_internal(request):
        raise Forbidden("This endpoint is for DocuChat's own services.")


def is_internal(request: Request) -> bool:
    """Whether the caller presented the internal token."""
    expected: str = request.app.state.container.settings.internal_token.get_secret_value()
    return hmac.compare_digest(request.headers.get(INTERNAL_HEADER, "").encode(), expected.encode())


InternalCaller = Depends(require_internal_token)
