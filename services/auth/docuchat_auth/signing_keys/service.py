"""The signing keys: made at first start, rotated by command and on schedule, public until their last token ends."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import jwt
import structlog

from docuchat_auth.revisions.service import Revisions
from docuchat_auth.signing_keys.domain import SigningAlgorithm, SigningKey, key_to_sign_with
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_auth.users.domain import User
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.permissions import CHATBOT, PERMISSIONS, VISITOR
from docuchat_common.contracts.revisions import signer_id
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import KeyRotated
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId, uuid7

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

# Clocks of verifiers may be behind; an expired key stays published a little longer.
_CLOCK_SKEW = timedelta(minutes=1)
OPERATOR_TOKEN_LIFETIME = timedelta(minutes=15)
_RELOAD_AFTER = timedelta(seconds=2)
_MAX_AGE = timedelta(minutes=5)
# KeyRotated concerns the installation; events carry a tenant, and no tenant has this id.
_INSTALLATION = TenantId(0)


class KeyRing:
    """Signs access tokens and tells which keys verify them. Keys are read again every two seconds."""

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        forge: SealedKeyForge,
        revisions: Revisions,
        clock: Clock,
        *,
        issuer: str,
        audience: str,
        algorithm: SigningAlgorithm,
        token_lifetime: timedelta,
        publish_ahead: timedelta,
    ) -> None:
        """`publish_ahead` is how long a new key is published before it signs: replicas read it in a quarter of that
        time, and `max_age` lets caches keep the set for half of it.
        """
        self._uow = uow
        self._forge = forge
        self._revisions = revisions
        self._clock = clock
        self._issuer = issuer
        self._audience = audience
        self._algorithm = algorithm
        self._token_lifetime = token_lifetime
        self._longest_lifetime = max(token_lifetime, OPERATOR_TOKEN_LIFETIME)
        self._publish_ahead = publish_ahead
        self._reload_after = min(_RELOAD_AFTER, publish_ahead / 4)
        self.max_age = min(_MAX_AGE, publish_ahead / 2)
        self._keys: Sequence[SigningKey] = ()
        self._signers: Sequence[SigningKey] = ()
        self._sealed: list[str] = []
        self._read_at: datetime | None = None
        self._reading = asyncio.Lock()

    @property
    def token_lifetime(self) -> timedelta:
        """How long an access token lives."""
        return self._token_lifetime

    async def ensure_key(self) -> None:
        """Creates a key when none can sign, now or soon. Replicas that start together create one."""
        async with self._uow.system() as tx:
            await tx.signing_keys.lock()
            keys = await tx.signing_keys.list_all()
            successors = [key for key in self._usable(keys) if key.retired_at is None]
            if not any(key.algorithm is self._algorithm for key in successors):
                await self._succeed(tx, keys, self._clock.now())
        self._read_at = None

    async def rotate(self, *, revoke: bool = False, by: Caller | None = None) -> SigningKey:
        """Publishes a new key that signs from `publish_ahead` on; keys that no token can be alive of are dropped.

        With `revoke` every older key is dropped and the new one signs at once, so that all access tokens end: for the
        day a private key or JWT_SECRET leaks.
        """
        async with self._uow.system() as tx:
            await tx.signing_keys.lock()
            detail = "the older ones are dropped" if revoke else None
            new = await self._replace(tx, await tx.signing_keys.list_all(), revoke=revoke, by=by, detail=detail)
        self._read_at = None
        return new

    async def rotate_when_due(self, age: timedelta) -> SigningKey | None:
        """As `rotate` once the youngest key is of this age: of replicas that look at the same time one does it."""
        async with self._uow.system() as tx:
            await tx.signing_keys.lock()
            keys = await tx.signing_keys.list_all()
            if any(key.created_at > self._clock.now() - age for key in keys):
                return None
            new = await self._replace(tx, keys, detail="on schedule")
        self._read_at = None
        return new

    async def published(self) -> dict[str, list[dict[str, str]]]:
        """The JSON Web Key Set (RFC 7517), public members only."""
        moment = self._clock.now()
        lifetime = self._longest_lifetime + _CLOCK_SKEW
        keys = await self._current()
        return {"keys": [dict(key.public_jwk) for key in keys if key.is_published_at(moment, lifetime)]}

    async def sign_access_token(
        self,
        user: User,
        tenant_slug: str,
        *,
        session_id: UUID,
        customer_id: UUID | None = None,
        groups: Sequence[UUID] = (),
        scopes: Collection[str] | None = None,
    ) -> str:
        """An access token of the user (claims: README of auth), for `scopes` alone. Raises NoSigningKey."""
        narrowed: dict[str, object] = {} if scopes is None else {"scope": " ".join(sorted(scopes))}
        return await self._sign(
            user.id,
            self._token_lifetime,
            typ="access",
            tenant=int(user.tenant_id),
            tenant_slug=tenant_slug,
            customer_id=None if customer_id is None else str(customer_id),
            role=user.role.value,
            email=user.email,
            sub_type="user",
            ver=user.version,
            sid=str(session_id),
            groups=list(map(str, groups)),
            **narrowed,
        )

    async def sign_key_token(
        self,
        key_id: UUID,
        lifetime: timedelta,
        *,
        tenant_id: TenantId,
        tenant_slug: str,
        customer_id: UUID,
        role: str,
        scopes: Collection[str],
        secret_id: UUID,
        user: User | None,
        groups: Sequence[UUID] = (),
        chatbot_id: UUID | None = None,
    ) -> str:
        """An access token of an API key, for a user, a chatbot or the tenant itself. Raises NoSigningKey."""
        # what the user may see by name the key may see: membership names the user as it names a group
        own: dict[str, object] = {} if user is None else {"user": str(user.id), "ver": user.version}
        if chatbot_id is not None:
            own = {"sub_type": CHATBOT, "key": str(key_id)}
        return await self._sign(
            chatbot_id or key_id,
            lifetime,
            typ="access",
            tenant=int(tenant_id),
            tenant_slug=tenant_slug,
            customer_id=str(customer_id),
            role=str(role),
            scope=" ".join(sorted(scopes)),
            sid=str(secret_id),
            groups=[str(group) for group in (*groups, *(() if user is None else (user.id,)))],
            **{"sub_type": "key"} | own,
        )

    async def sign_visitor_token(
        self,
        visitor_id: UUID,
        lifetime: timedelta,
        *,
        tenant_id: TenantId,
        tenant_slug: str,
        customer_id: UUID,
        chatbot_id: UUID,
        origin: str,
        version: int,
    ) -> str:
        """An access token of a visitor of a chatbot's, good on pages of `origin` alone. Raises NoSigningKey."""
        return await self._sign(
            visitor_id,
            lifetime,
            typ="access",
            tenant=int(tenant_id),
            tenant_slug=tenant_slug,
            customer_id=str(customer_id),
            role=VISITOR,
            sub_type="visitor",
            scope=" ".join(sorted(PERMISSIONS[VISITOR])),
            chatbot=str(chatbot_id),
            origin=origin,
            ver=version,
        )

    async def read(self, token: str, *, late: timedelta) -> dict[str, Any] | None:
        """What a token says that was signed here and ended at most `late` ago; None for any other text."""
        keys = {key.kid: key for key in await self._current()}
        try:
            key = keys.get(jwt.get_unverified_header(token).get("kid", ""))
            if key is None:
                return None
            claims: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK(dict(key.public_jwk)),
                algorithms=[key.algorithm.value],
                issuer=self._issuer,
                audience=self._audience,
                options={"verify_exp": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        return claims if claims["exp"] + late.total_seconds() > self._clock.now().timestamp() else None

    async def sign_operator_token(self, operator_id: UUID) -> str:
        """A token of no tenant that opens `/v1/operator`. Raises NoSigningKey."""
        return await self._sign(operator_id, OPERATOR_TOKEN_LIFETIME, typ="operator", scope="operator")

    async def _sign(self, subject: UUID, lifetime: timedelta, **claims: object) -> str:
        moment = self._clock.now()
        await self._current()
        key = key_to_sign_with(self._signers, moment)
        if key is None:
            raise NoSigningKey(retry_after=timedelta(seconds=5))
        issued_at = int(moment.timestamp())
        return self._forge.sign(
            key,
            {
                "iss": self._issuer,
                "aud": self._audience,
                "sub": str(subject),
                "iat": issued_at,
                "exp": issued_at + int(lifetime.total_seconds()),
                "jti": str(uuid7()),
                **claims,
            },
        )

    async def _replace(
        self,
        tx: Tx,
        keys: Sequence[SigningKey],
        *,
        revoke: bool = False,
        by: Caller | None = None,
        detail: str | None,
    ) -> SigningKey:
        """Adds a key and drops those that no token can be alive of, or with `revoke` all before it."""
        moment = self._clock.now()
        keep: list[SigningKey] = []
        for key in keys:
            if revoke or not key.is_published_at(moment, self._longest_lifetime + _CLOCK_SKEW):
                await tx.signing_keys.drop(key.kid)
            else:
                keep.append(key)
        if revoke:  # verifiers read the published keys every two seconds; gateways hear of it, with who is connected
            dropped = [signer_id(key.kid) for key in keys]
            await self._revisions.record(tx, "key", _INSTALLATION, *dropped, state="ended")
        new = await self._succeed(tx, keep, moment)
        tx.outbox.add(entry(by, "signing_keys.rotate", new.kid, detail=detail))
        return new

    async def _succeed(self, tx: Tx, keys: Sequence[SigningKey], moment: datetime) -> SigningKey:
        """Adds a key and retires those before it from the moment it signs; at once when nothing signs now."""
        signing = key_to_sign_with(self._usable(keys), moment)
        not_before = moment if signing is None else moment + self._publish_ahead
        new = self._forge.create(self._algorithm, created_at=moment, not_before=not_before)
        await tx.signing_keys.add(new)
        for key in keys:  # an earlier retirement stands
            await tx.signing_keys.retire(key.kid, not_before)
        tx.outbox.add(KeyRotated(tenant_id=_INSTALLATION, kid=new.kid))
        logger.info(
            "signing_key.created", kid=new.kid, algorithm=new.algorithm.value, not_before=not_before.isoformat()
        )
        return new

    def _usable(self, keys: Sequence[SigningKey]) -> list[SigningKey]:
        """The keys whose private half opens under the present secret; the others are published until they expire."""
        return [key for key in keys if self._forge.can_open(key)]

    async def _current(self) -> Sequence[SigningKey]:
        if not self._is_fresh():
            async with self._reading:  # one reader; the others wait for what it finds
                if not self._is_fresh():
                    await self._read()
        return self._keys

    async def _read(self) -> None:
        try:
            async with self._uow.system() as tx:
                keys = await tx.signing_keys.list_all()
        except UpstreamUnavailable:
            if not self._keys:
                raise
            logger.warning("signing_keys.stale")  # keys outlive a restart of the database by far
        else:
            self._keys = keys
            self._signers = self._usable(keys)
            sealed = sorted({key.kid for key in keys} - {key.kid for key in self._signers})
            if sealed and sealed != self._sealed:
                logger.warning("signing_key.unreadable", kids=sealed, hint="sealed under another JWT_SECRET")
            self._sealed = sealed
        self._read_at = self._clock.now()

    def _is_fresh(self) -> bool:
        return self._read_at is not None and self._clock.now() - self._read_at < self._reload_after
