"""Make, change and reset passwords."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from docuchat_auth.codes.domain import Account, Challenge, Purpose
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.service import CodeDesk
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.passwords.errors import PasswordsBusy, WrongPassword
from docuchat_auth.passwords.hashing import PasswordPool
from docuchat_auth.passwords.strength import require_strength
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.users.domain import Email, User
from docuchat_auth.users.service import find_own
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.http.caller import Caller
from docuchat_common.http.sign_ins import require_recent
from docuchat_common.ids import TenantId
from docuchat_common.rate_limits import Limit, Rate, RateLimiter, Rates

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_WRONG_PER_USER: Final = Rate(10, timedelta(hours=1))
"""Guesses at the present password by whoever holds a session."""


class Passwords:
    """What users do with their passwords."""

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        pool: PasswordPool,
        codes: CodeDesk,
        sessions: Sessions,
        limiter: RateLimiter,
        clock: Clock,
        made_per_address: Rates,
    ) -> None:
        """`made_per_address`: how many new passwords are looked at for one client's address."""
        self._uow = uow
        self._pool = pool
        self._codes = codes
        self._sessions = sessions
        self._limiter = limiter
        self._clock = clock
        self._made_per_address = made_per_address

    async def make(self, password: str, network: str, *about: str | None) -> str:
        """The hash of a new password of somebody of whom `about` is known. It is work, also for who may not set one.

        Raises TooManyAttempts, PasswordTooWeak, PasswordsBusy.
        """
        limits = (Limit("password-new", network, rate) for rate in self._made_per_address)
        await self._limiter.require(*limits, error=TooManyAttempts)
        await self._pool.run(lambda: require_strength(password, about), network)
        return await self._pool.hash(password, network)

    async def change(self, caller: Caller, current: str | None, new: str, network: str) -> None:
        """Set the caller's password and end the other sessions.

        Who has none shows a recent sign-in in place of the present one. Raises WrongPassword, RecentSignInRequired,
        TooManyAttempts, PasswordTooWeak, PasswordsBusy, UserGone.
        """
        async with self._uow(caller.tenant_id) as tx:
            user = await find_own(tx, caller)
            older = await tx.passwords.find(user.tenant_id, user.id)
        if older is not None:
            await self._prove(caller, older, current, network)
        else:
            require_recent(caller, self._clock.now())
        hash_ = await self.make(new, network, user.email, user.claimed_email, user.username, user.name)
        async with self._uow(caller.tenant_id) as tx:
            await tx.users.lock(user.tenant_id, user.id)
            if await tx.passwords.find(user.tenant_id, user.id) != older:
                raise WrongPassword  # changed meanwhile
            await self._put(tx, user, hash_, keep=caller)
            tx.outbox.add(entry(caller, "password.change", user.id, object_type="user"))
        logger.info("password.changed", tenant_id=user.tenant_id, user_id=str(user.id))

    async def request_reset(self, tenant_id: TenantId, email: Email, network: str, challenge: str | None) -> Challenge:
        """Mail a code with which a password is set. Raises TooManyAttempts, MailBacklog."""
        return await self._codes.issue(Account(tenant_id, email, Purpose.RESET), network, challenge)

    async def reset(
        self, tenant_id: TenantId, email: Email, code: str, password: str, network: str, challenge: str | None
    ) -> None:
        """Set a password by a mailed code and end all sessions.

        Raises InvalidCode, TooManyAttempts, ChooseTenant, PasswordTooWeak, PasswordsBusy.
        """
        hash_ = await self.make(password, network, email)  # before the code is spent
        account = (await self._codes.prove(Account(tenant_id, email, Purpose.RESET), code, network, challenge)).account
        async with self._uow(account.tenant_id) as tx:
            user = await tx.users.find_by_email(account.tenant_id, email)
            if user is None or not user.is_active:
                raise InvalidCode
            await self._put(tx, user, hash_, keep=None)
            who = Caller(user.tenant_id, "user", user.id)
            tx.outbox.add(entry(who, "password.reset", user.id, object_type="user"))
        logger.info("password.reset", tenant_id=user.tenant_id, user_id=str(user.id))

    async def _put(self, tx: Tx, user: User, hash_: str, *, keep: Caller | None) -> None:
        await tx.users.lock(user.tenant_id, user.id)  # before the password: see transaction.py
        await tx.passwords.put(user.tenant_id, user.id, hash_, self._clock.now())
        await self._sessions.end_all(tx, user, keep=None if keep is None else keep.session_id)

    async def _prove(self, caller: Caller, older: str, current: str | None, network: str) -> None:
        limit = Limit("password-change", caller.subject, _WRONG_PER_USER, of=caller.subject)
        await self._limiter.require(limit, error=TooManyAttempts)
        try:
            is_right = current is not None and any(await self._pool.check(current, [older], network))
        except PasswordsBusy:
            await self._limiter.give_back(limit)
            raise
        if not is_right:
            raise WrongPassword
        await self._limiter.give_back(limit)
