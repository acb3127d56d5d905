"""Sign in by password."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta
from typing import TYPE_CHECKING, NoReturn

import structlog
from prometheus_client import Counter

from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.logins.attempts import Attempts
from docuchat_auth.logins.domain import Attempt, Candidate, SignedIn
from docuchat_auth.passwords.errors import InvalidCredentials
from docuchat_auth.passwords.hashing import PasswordPool, is_outdated
from docuchat_auth.sessions.domain import SignInMethod
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.domain import ANY_TENANT
from docuchat_auth.tenants.service import choice_of
from docuchat_auth.users.domain import Email, User, Username
from docuchat_common.clock import Clock
from docuchat_common.ids import TenantId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_logins = Counter("docuchat_auth_password_logins", "Tries to sign in by password.", ["outcome"])

_MOST_TENANTS = 4
"""Whoever has accounts in more names the tenant: each is a password to check."""


class PasswordSignIn:
    """Signs in by address or user name and password.

    A refusal tells nothing, also by its time: it comes at the next multiple of `refuse_after`, whatever was looked for
    and however many hashes of whatever kind were compared.
    """

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        sessions: Sessions,
        pool: PasswordPool,
        attempts: Attempts,
        pseudonyms: KeyedPseudonyms,
        clock: Clock,
        refuse_after: timedelta,
    ) -> None:
        self._uow = uow
        self._sessions = sessions
        self._pool = pool
        self._attempts = attempts
        self._pseudonyms = pseudonyms
        self._clock = clock
        self._refuse_after = refuse_after.total_seconds()

    async def sign_in(self, attempt: Attempt) -> SignedIn:
        """Raises InvalidCredentials, OtpRequired, OtpInvalid, ChooseTenant, TooManyAttempts, PasswordsBusy."""
        began = asyncio.get_running_loop().time()
        subject = self._subject(attempt)
        counted = await self._attempts.begin(subject, attempt.network, attempt.device)
        candidates = await self._find_candidates(attempt)
        found = await self._pool.check(attempt.password, [one.hash for one in candidates], attempt.network)
        right = [one for one, is_right in zip(candidates, found, strict=True) if is_right]
        if not right:
            await self._refuse(began)
        await self._attempts.forgive(counted)
        homes = {one.tenant.id: one for one in reversed(right)}  # of two in a tenant the one who has proven the address
        if len(homes) > 1:
            raise choice_of(home.tenant for home in reversed(homes.values()))
        return await self.enter(right[0], attempt, subject)

    async def enter(self, one: Candidate, attempt: Attempt, subject: str) -> SignedIn:
        """Let somebody in whose password was right."""
        better = None
        if is_outdated(one.hash):
            better = await self._pool.hash(attempt.password, attempt.network)
        async with self._uow(one.tenant.id) as tx:
            if better is not None:
                await tx.passwords.rehash(one.tenant.id, one.user.id, one.hash, better)
            await tx.users.record_login(one.tenant.id, one.user.id, self._clock.now())
            session = await self._sessions.start(tx, one.user, SignInMethod.PASSWORD, otp=attempt.otp)
        device = await self._attempts.remember(subject, attempt.device)
        _logins.labels("accepted").inc()
        logger.info("user.signed_in", tenant_id=one.tenant.id, user_id=str(one.user.id), by="password")
        return SignedIn(one.user, one.tenant, await self._sessions.pair(session, one.tenant), device)

    async def forget_failures(self, user: User) -> None:
        """Forget failures at the user's password and second factor, and known devices."""
        await self._attempts.forget(str(user.id))
        if address := user.email or user.claimed_email:
            await self._attempts.forget(self._pseudonyms.of_email(address))
        if user.username:
            await self._attempts.forget(f"{int(user.tenant_id)}:{self._pseudonyms.of_username(user.username)}")

    async def _refuse(self, began: float) -> NoReturn:
        _logins.labels("refused").inc()
        elapsed = asyncio.get_running_loop().time() - began
        await asyncio.sleep(math.ceil(elapsed / self._refuse_after) * self._refuse_after - elapsed)
        raise InvalidCredentials

    def _subject(self, attempt: Attempt) -> str:
        """An address is counted over all tenants, a user name in its own."""
        if attempt.is_email:
            return self._pseudonyms.of_email(Email(attempt.who))
        return f"{int(attempt.tenant_id)}:{self._pseudonyms.of_username(Username(attempt.who))}"

    async def _find_candidates(self, attempt: Attempt) -> list[Candidate]:
        found: list[Candidate] = []
        for tenant_id in await self._find_tenants(attempt):
            async with self._uow(tenant_id) as tx:
                tenant = await tx.tenants.find_by_id(tenant_id)
                for user in await _find_users(tx, tenant_id, attempt):
                    hash_ = await tx.passwords.find(tenant_id, user.id)
                    if tenant is not None and hash_ is not None and user.is_active:
                        found.append(Candidate(user, tenant, hash_))
        return found

    async def _find_tenants(self, attempt: Attempt) -> list[TenantId]:
        if attempt.tenant_id != ANY_TENANT:
            return [attempt.tenant_id]
        async with self._uow.system() as tx:
            if attempt.is_email:
                homes = await tx.users.find_homes(Email(attempt.who), also_claimed=True)
            else:
                homes = await tx.users.find_homes_of_username(Username(attempt.who))
        return homes[:_MOST_TENANTS]


async def _find_users(tx: Tx, tenant_id: TenantId, attempt: Attempt) -> list[User]:
    """Who has proven the address comes first, then who claims it."""
    if not attempt.is_email:
        named = await tx.users.find_by_username(tenant_id, Username(attempt.who))
        return [] if named is None else [named]
    email = Email(attempt.who)
    found = [await tx.users.find_by_email(tenant_id, email), await tx.users.find_claimant(tenant_id, email)]
    return [user for user in found if user is not None]
