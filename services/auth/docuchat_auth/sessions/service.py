"""Issue token pairs; rotate and revoke refresh tokens."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import structlog
from prometheus_client import Counter

from docuchat_auth.revisions.service import Revisions
from docuchat_auth.sessions.domain import (
    MOST_SESSIONS,
    OpenSession,
    Origin,
    RefreshToken,
    Session,
    SessionPolicy,
    SignInMethod,
    TokenPair,
    hash_refresh_token,
    successor_of,
)
from docuchat_auth.sessions.errors import (
    InvalidRefreshToken,
    RefreshTokenReused,
    SessionNotFound,
    TooManyRefreshes,
)
from docuchat_auth.sessions.ports import SecondFactor
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_auth.tenants.domain import ANY_TENANT, Tenant
from docuchat_auth.users.domain import User
from docuchat_auth.users.errors import UserGone
from docuchat_auth.users.service import outdate
from docuchat_common.acts import current_act, excuse_act
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.permissions import ENROLMENT
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.events.catalogue import AuditRecorded, AuditResult
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.ids import TenantId, UserId, made_at, uuid7
from docuchat_common.rate_limits import Limit, RateLimiter

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_refreshes = Counter("docuchat_auth_refreshes", "Refresh tokens that were shown and known.", ["outcome"])

GroupsOf = Callable[["Tx", User], Awaitable[Sequence[UUID]]]
"""Which groups a token of the user names: at most 100."""

_SWEEP_BATCH = 1000
_REUSED = "a token was used twice: the session is ended"
_KEEP_EXPIRED = timedelta(days=1)


class Sessions:
    """Issues token pairs; rotates and revokes refresh tokens.

    A refresh token is spent when its successor is used. Until then it may be shown again and yields the same successor,
    since the answer that brought it may have been lost. Showing it later is reuse, and revokes its whole family with
    the newest token (RFC 9700 §4.14.2).
    """

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        keys: KeyRing,
        revisions: Revisions,
        clock: Clock,
        limiter: RateLimiter,
        policy: SessionPolicy,
        successor_key: bytes,
        groups_of: GroupsOf,
        second_factor: SecondFactor,
    ) -> None:
        """`successor_key` derives each token from the one before, so that it can be told again without being kept."""
        self._uow = uow
        self._keys = keys
        self._revisions = revisions
        self._groups_of = groups_of
        self._second_factor = second_factor
        self._clock = clock
        self._limiter = limiter
        self._policy = policy
        self._successor_key = successor_key

    async def start(
        self, tx: Tx, user: User, method: SignInMethod, *, otp: str | None = None, is_part: bool = False
    ) -> Session:
        """Open a session in the caller's transaction. Every way of signing in ends here, and then in `pair`.

        Whoever proved one thing is asked for the second factor here, so that no way leads around it. `is_part` of an
        act that has an audit entry of its own. Raises OtpRequired, OtpInvalid, TooManyAttempts, and UserGone when the
        account was closed meanwhile.
        """
        present = await self._hold(tx, user.tenant_id, user.id)
        if present is None or not present.is_active:
            raise UserGone
        user, moment = present, self._clock.now()
        second = None if method.is_enough else await self._second_factor.require(tx, user, otp)
        text, session_id = secrets.token_urlsafe(32), uuid7()
        link = await self._add_link(
            tx, user, text, method, family_id=session_id, factor_shown=method.is_enough or second is not None
        )
        oldest = await tx.refresh_tokens.revoke_all(user.tenant_id, user.id, moment, spared=MOST_SESSIONS)
        await self._revisions.record(tx, "session", user.tenant_id, *oldest, state="ended")
        if not is_part:
            how = method.value if second is None else f"{method.value}, {second}"
            tx.outbox.add(_entry("session.start", user.tenant_id, user.id, session_id, detail=how))
        return await self._session(tx, user, link, text)

    async def pair(self, session: Session, tenant: Tenant) -> TokenPair:
        """The answer to a client: an access token beside the refresh token."""
        access_token = await self._keys.sign_access_token(
            session.user,
            tenant.slug,
            customer_id=tenant.customer_id,
            session_id=session.id,
            groups=session.groups,
            scopes=session.scopes,
        )
        return TokenPair(access_token, self._keys.token_lifetime, session.refresh_token, session.scopes)

    async def refresh(self, tenant_id: TenantId, refresh_token: str) -> TokenPair:
        """Exchange a refresh token for a new pair. Raises InvalidRefreshToken, RefreshTokenReused, TooManyRefreshes."""
        tenant_id = await self._find_home(tenant_id, refresh_token)
        async with self._uow(tenant_id) as tx:
            tenant = await tx.tenants.find_by_id(tenant_id)
            rotated = await self._rotate(tx, tenant_id, refresh_token)
        if rotated is None:  # raised here, because the revocation had to be committed
            _refreshes.labels("reused").inc()
            raise RefreshTokenReused
        if tenant is None:
            raise InvalidRefreshToken
        return await self.pair(rotated, tenant)

    async def end(self, tenant_id: TenantId, refresh_token: str) -> None:
        """Revoke the token's family; an unknown token is no error (RFC 7009)."""
        tenant_id = await self._find_home(tenant_id, refresh_token)
        async with self._uow(tenant_id) as tx:
            token = await tx.refresh_tokens.find(tenant_id, hash_refresh_token(refresh_token))
            if token is not None:
                await self._hold(tx, tenant_id, token.user_id)
                if await self.revoke(tx, tenant_id, token.family_id):
                    tx.outbox.add(_entry("session.end", tenant_id, token.user_id, token.family_id))
                    return
        excuse_act()

    async def revoke(self, tx: Tx, tenant_id: TenantId, session_id: UUID) -> bool:
        """End a session with its access tokens; False when it had ended already. Hold its user first."""
        if not await tx.refresh_tokens.revoke_family(tenant_id, session_id, self._clock.now()):
            return False
        await self._revisions.record(tx, "session", tenant_id, session_id, state="ended")
        return True

    async def end_all(self, tx: Tx, user: User, *, keep: UUID | None = None) -> None:
        """End all sessions of a user, but not that of `keep`, in the caller's transaction.

        Without `keep` the user's next version ends all access tokens at once, however many there are.
        """
        await self._hold(tx, user.tenant_id, user.id)  # what is being begun or refreshed is ended with the others
        ended = await tx.refresh_tokens.revoke_all(user.tenant_id, user.id, self._clock.now(), keep=keep)
        if keep is None:
            await outdate(tx, self._revisions, user.tenant_id, user.id)
        else:
            await self._revisions.record(tx, "session", user.tenant_id, *ended, state="ended")

    async def note_factor(self, tx: Tx, user: User, session_id: UUID) -> None:
        """A second factor was set up in this session: it may do what needs one, and all other sessions end."""
        await self.end_all(tx, user, keep=session_id)
        await tx.refresh_tokens.note_factor(user.tenant_id, session_id)

    async def list_own(self, caller: Caller, before: UUID | None, limit: int) -> list[OpenSession]:
        """The caller's sessions, the newest first. Raises UserGone for who is no user."""
        if caller.user_id is None:
            raise UserGone
        async with self._uow(caller.tenant_id) as tx:
            return await tx.refresh_tokens.list_open(caller.tenant_id, caller.user_id, before, self._clock.now(), limit)

    async def end_own(self, caller: Caller, session_id: UUID) -> None:
        """End one of the caller's sessions; once more is no error. Raises SessionNotFound, UserGone."""
        if caller.user_id is None:
            raise UserGone
        async with self._uow(caller.tenant_id) as tx:
            if not await tx.refresh_tokens.is_family_of(caller.tenant_id, caller.user_id, session_id):
                raise SessionNotFound
            await self._hold(tx, caller.tenant_id, caller.user_id)
            if await self.revoke(tx, caller.tenant_id, session_id):
                tx.outbox.add(entry(caller, "session.end", session_id))
                return
        excuse_act()

    async def end_others(self, caller: Caller) -> None:
        """End all sessions of the caller but the one that asks. Raises UserGone."""
        async with self._uow(caller.tenant_id) as tx:
            user = None if caller.user_id is None else await tx.users.find_by_id(caller.tenant_id, caller.user_id)
            if user is None:
                raise UserGone
            await self.end_all(tx, user, keep=caller.session_id)
            tx.outbox.add(entry(caller, "session.end_others", user.id, object_type="user"))

    async def forget_expired(self, keep: timedelta = _KEEP_EXPIRED) -> int:
        """Delete tokens that expired longer than `keep` ago; returns how many."""
        deleted = 0
        while True:
            async with self._uow.system() as tx:
                batch = await tx.refresh_tokens.delete_expired(self._clock.now() - keep, _SWEEP_BATCH)
            deleted += batch
            if batch < _SWEEP_BATCH:
                logger.info("refresh_tokens.swept", deleted=deleted)
                return deleted

    @staticmethod
    async def _hold(tx: Tx, tenant_id: TenantId, user_id: UserId) -> User | None:
        """The user as is; nobody else begins, refreshes or ends a session of the user until the transaction ends.

        Without it a token that is being born escapes a revocation.
        """
        await tx.users.lock(tenant_id, user_id)
        return await tx.users.find_by_id(tenant_id, user_id)

    async def _find_home(self, tenant_id: TenantId, refresh_token: str) -> TenantId:
        """The tenant that was named, else that of the token."""
        if tenant_id != ANY_TENANT:
            return tenant_id
        async with self._uow.system() as tx:
            return await tx.refresh_tokens.find_home(hash_refresh_token(refresh_token)) or NO_TENANT

    async def _rotate(self, tx: Tx, tenant_id: TenantId, text: str) -> Session | None:
        """The session with its next token; None when the token was reused and its family is therefore revoked."""
        token_hash = hash_refresh_token(text)
        found = await tx.refresh_tokens.find(tenant_id, token_hash)
        if found is None:
            raise InvalidRefreshToken
        user = await self._hold(tx, tenant_id, found.user_id)
        moment = self._clock.now()
        if user is None or not user.is_active:
            raise InvalidRefreshToken
        # read again: what was found may be older than the lock
        token = await tx.refresh_tokens.find(tenant_id, token_hash)
        if token is None:
            raise InvalidRefreshToken
        if self._policy.ends_at(made_at(token.family_id), moment) <= moment:
            raise InvalidRefreshToken("The session has come to its age; sign in again.")
        if token.is_fresh_at(moment):  # else it makes nothing, and reuse must be noticed however often it is tried
            await self._count(token.family_id)
        next_text = successor_of(text, self._successor_key)
        session = await self._session(tx, user, token, next_text)
        if await tx.refresh_tokens.use(tenant_id, token.id, moment):
            await self._add_link(
                tx,
                user,
                next_text,
                token.method,
                family_id=token.family_id,
                parent_id=token.id,
                factor_shown=token.factor_shown,
            )
            tx.outbox.add(_entry("session.refresh", tenant_id, user.id, session.id))
            _refreshes.labels("rotated").inc()
            return session
        if token.used_at is None:
            raise InvalidRefreshToken
        successor = await tx.refresh_tokens.find(tenant_id, hash_refresh_token(next_text))
        if successor is not None and successor.is_fresh_at(moment):
            _refreshes.labels("repeated").inc()
            excuse_act()
            return session
        if await self.revoke(tx, tenant_id, token.family_id):
            reused = _entry("session.refresh", tenant_id, user.id, session.id, result="refused", detail=_REUSED)
            tx.outbox.add(reused)
            logger.warning(
                "refresh_token.reused", tenant_id=tenant_id, user_id=str(user.id), family_id=str(token.family_id)
            )
        return None

    async def _count(self, session_id: UUID) -> None:
        """Raise TooManyRefreshes when a session is refreshed too often. Without Redis people stay signed in."""
        with suppress(UpstreamUnavailable):
            limits = (Limit("refresh", str(session_id), rate) for rate in self._policy.refreshes)
            await self._limiter.require(*limits, error=TooManyRefreshes)

    async def _session(self, tx: Tx, user: User, link: RefreshToken, text: str) -> Session:
        """A session as the next pair tells it: good for setting up a second factor only, while a demanded one lacks."""
        must_enrol = not link.method.is_enough and await self._second_factor.is_missing(
            tx, user, was_shown=link.factor_shown
        )
        return Session(link.family_id, user, await self._groups_of(tx, user), text, ENROLMENT if must_enrol else None)

    async def _add_link(
        self,
        tx: Tx,
        user: User,
        text: str,
        method: SignInMethod,
        *,
        family_id: UUID,
        factor_shown: bool,
        parent_id: UUID | None = None,
    ) -> RefreshToken:
        moment = self._clock.now()
        link = RefreshToken(
            id=uuid7(),
            tenant_id=user.tenant_id,
            user_id=user.id,
            family_id=family_id,
            method=method,
            parent_id=parent_id,
            created_at=moment,
            expires_at=self._policy.ends_at(moment if parent_id is None else made_at(family_id), moment),
            used_at=None,
            revoked_at=None,
            factor_shown=factor_shown,
            origin=_origin(),
        )
        await tx.refresh_tokens.add(link, hash_refresh_token(text))
        return link


def _origin() -> Origin:
    act = current_act()
    return Origin() if act is None else Origin(act.device, act.address())


def _entry(
    name: str,
    tenant_id: TenantId,
    user_id: UserId,
    session_id: UUID,
    *,
    result: AuditResult = "done",
    detail: str | None = None,
) -> AuditRecorded:
    who = Caller(tenant_id, "user", user_id)
    return entry(who, name, session_id, object_type="session", result=result, detail=detail)
