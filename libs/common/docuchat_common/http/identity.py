"""Who is calling: access tokens checked against auth's published keys, in every service.

The algorithm is pinned to asymmetric signatures, the key is chosen by `kid` among the published ones only, and issuer,
audience, expiry and type are required (RFC 8725, RFC 9068).
"""

import asyncio
import hmac
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final
from uuid import UUID

import aiohttp
import jwt
import structlog
from fastapi import Depends, Request
from fastapi.security import HTTPBearer
from starlette.datastructures import Headers

from docuchat_common.errors import Forbidden, InvalidInput, Unauthenticated, UpstreamUnavailable
from docuchat_common.ids import TenantId, UserId
from docuchat_common.settings import ServiceSettings

logger = structlog.get_logger()

ALGORITHMS: Final = ("EdDSA", "ES256")
INTERNAL_HEADER: Final = "X-Internal-Token"
_REQUIRED: Final = ("iss", "aud", "sub", "exp", "iat", "jti", "typ", "tenant", "tenant_slug", "role")
_KEY_REFRESH_SECONDS: Final = 300.0
_UNKNOWN_KID_PAUSE_SECONDS: Final = 2.0
_REMEMBERED_TOKENS: Final = 10_000


class InvalidToken(Unauthenticated):
    """The access token is not valid; sign in again."""

    code = "invalid_token"


class TokenExpired(Unauthenticated):
    """The access token has expired; use the refresh token or sign in again."""

    code = "token_expired"


class TenantMismatch(Forbidden):
    """The tenant header names another tenant than the token; leave the header out or send the token's own tenant."""

    code = "tenant_mismatch"


@dataclass(frozen=True)
class Principal:
    """A signed-in user in a tenant."""

    tenant_id: TenantId
    tenant_slug: str
    user_id: UserId
    role: str
    email: str | None
    expires_at: float
    """Unix time at which the token ends."""
    token: str = field(repr=False)
    """The token itself, to forward to another service."""


class TokenVerifier:
    """Verifies access tokens offline, with keys fetched from auth when first needed and when a new `kid` appears."""

    def __init__(self, session: aiohttp.ClientSession, jwks_url: str, *, issuer: str, audience: str) -> None:
        self._session = session
        self._jwks_url = jwks_url
        self._issuer = issuer
        self._audience = audience
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._lock = asyncio.Lock()
        self._verified: dict[str, Principal] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: ServiceSettings) -> AsyncIterator["TokenVerifier"]:
        """A verifier with a connection of its own to auth."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            yield cls(
                session,
                f"{settings.auth_url.rstrip('/')}/.well-known/jwks.json",
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
            )

    async def verify(self, token: str) -> Principal:
        """The principal of `token`; InvalidToken, TokenExpired, or UpstreamUnavailable while there is no key."""
        remembered = self._verified.get(token)
        if remembered is not None:
            if remembered.expires_at <= time.time():
                del self._verified[token]
                raise TokenExpired
            if time.monotonic() - self._fetched_at < _KEY_REFRESH_SECONDS:
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
        principal = _principal(claims, token)
        if len(self._verified) >= _REMEMBERED_TOKENS:
            self._verified.clear()
        self._verified[token] = principal
        return principal

    async def check(self) -> None:
        """Raise UpstreamUnavailable while there are no keys (readiness)."""
        if not self._keys:
            await self._fetch()

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
        age = time.monotonic() - self._fetched_at
        # an unknown kid is a new key, or an attack: ask again, but seldom
        if age > _KEY_REFRESH_SECONDS or (kid not in self._keys and age > _UNKNOWN_KID_PAUSE_SECONDS):
            try:
                await self._fetch()
            except UpstreamUnavailable:
                if kid not in self._keys:
                    raise
                logger.warning("identity.keys_stale")
        key = self._keys.get(kid)
        if key is None:
            raise InvalidToken
        return key

    async def _fetch(self) -> None:
        asked_at = time.monotonic()
        async with self._lock:
            if self._fetched_at > asked_at:  # somebody else did while we waited
                return
            try:
                async with self._session.get(self._jwks_url) as response:
                    response.raise_for_status()
                    document = await response.json()
                keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(document).keys if key.key_id is not None}
            except (aiohttp.ClientError, TimeoutError, jwt.PyJWTError, ValueError) as error:
                raise UpstreamUnavailable(
                    "The auth service does not answer; try again shortly.", retry_after=timedelta(seconds=2)
                ) from error
            if self._keys.keys() - keys.keys():
                self._verified.clear()  # a key was withdrawn, and its tokens with it
            self._keys = keys
            self._fetched_at = time.monotonic()


def _principal(claims: dict[str, Any], token: str) -> Principal:
    if claims["typ"] != "access":
        raise InvalidToken("This is not an access token; send the `access_token`, not the refresh token.")
    try:
        email = claims.get("email")
        return Principal(
            tenant_id=TenantId(int(claims["tenant"])),
            tenant_slug=str(claims["tenant_slug"]),
            user_id=UserId(UUID(claims["sub"])),
            role=str(claims["role"]),
            email=email if isinstance(email, str) else None,
            expires_at=float(claims["exp"]),
            token=token,
        )
    except (ValueError, TypeError) as error:
        raise InvalidToken from error


def bearer_token(headers: Headers) -> str:
    """The token of an `Authorization: Bearer` header; Unauthenticated without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated
    return token.strip()


def assert_same_tenant(principal: Principal, named: str | None) -> None:
    """TenantMismatch when the tenant header (id or slug) names another tenant than the token."""
    if named is None or not named.strip():
        return
    named = named.strip()
    if named not in {str(principal.tenant_id), principal.tenant_slug}:
        raise TenantMismatch


_bearer = HTTPBearer(auto_error=False, description="The `access_token` of POST /v1/auth/verify-code.")


async def current_principal(request: Request, _: Annotated[Any, Depends(_bearer)]) -> Principal:
    """The caller; the service's container has `verifier` and `settings`."""
    container = request.app.state.container
    principal: Principal = await container.verifier.verify(bearer_token(request.headers))
    assert_same_tenant(principal, request.headers.get(container.settings.tenant_header))
    structlog.contextvars.bind_contextvars(tenant_id=principal.tenant_id)
    return principal


CurrentPrincipal = Annotated[Principal, Depends(current_principal)]


async def require_internal_token(request: Request) -> None:
    """Only for callers inside: `X-Internal-Token` must be the shared secret."""
    if not is_internal(request):
        raise Forbidden("This endpoint is for DocuChat's own services.")


def is_internal(request: Request) -> bool:
    """Whether the caller presented the internal token."""
    expected: str = request.app.state.container.settings.internal_token.get_secret_value()
    return hmac.compare_digest(request.headers.get(INTERNAL_HEADER, "").encode(), expected.encode())


InternalCaller = Depends(require_internal_token)


class MissingTenant(InvalidInput):
    """Which tenant? Send its id or slug in the `X-Tenant-ID` header."""

    code = "tenant_required"
