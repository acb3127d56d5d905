"""Set second factors up and take them away."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.members.service import owns
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.second_factors.check import SecondFactorCheck, factors_of
from docuchat_auth.second_factors.domain import (
    RECOVERY_CODES,
    Factors,
    TotpEnrolment,
    hash_recovery_code,
    new_recovery_code,
)
from docuchat_auth.second_factors.errors import NoSecondFactor, TotpNotBegun, TotpNotFound
from docuchat_auth.second_factors.totp import new_secret, uri_of
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.users.domain import User
from docuchat_auth.users.errors import UserNotFound
from docuchat_auth.users.service import find_own, hold_own, outdate, require_still
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.sign_ins import require_recent
from docuchat_common.ids import UserId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_TIME_TO_CONFIRM: Final = timedelta(hours=1)


class SecondFactors:
    """What users do with their second factors. Each change needs a sign-in of the last minutes."""

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        check: SecondFactorCheck,
        sessions: Sessions,
        revisions: Revisions,
        clock: Clock,
        issuer: str,
    ) -> None:
        """`issuer` is what apps show beside the account."""
        self._uow = uow
        self._check = check
        self._sessions = sessions
        self._revisions = revisions
        self._clock = clock
        self._issuer = issuer

    async def describe(self, caller: Caller) -> Factors:
        """What the caller has. Raises UserGone."""
        async with self._uow(caller.tenant_id) as tx:
            return await factors_of(tx, await find_own(tx, caller))

    async def begin_totp(self, caller: Caller) -> TotpEnrolment:
        """A secret that `confirm_totp` puts in force, in place of the one in force. Raises RecentSignInRequired."""
        secret = new_secret()
        async with self._uow(caller.tenant_id) as tx:
            user = await self._find_recent(tx, caller)
            tenant = await tx.tenants.find_by_id(user.tenant_id)
            await tx.second_factors.put_pending(user, self._check.seal.close(user, secret), self._clock.now())
            tx.outbox.add(entry(caller, "totp.begin", user.id, object_type="user"))
        who = user.email or user.claimed_email or user.username
        account = f"{who} ({tenant.slug})" if tenant is not None else str(who)
        return TotpEnrolment(secret, uri_of(secret, account, self._issuer))

    async def confirm_totp(self, caller: Caller, otp: str) -> list[str]:
        """Put the secret in force; the recovery codes, which are shown once. All other sessions end.

        Raises TotpNotBegun, OtpInvalid, TooManyAttempts, RecentSignInRequired.
        """
        moment = self._clock.now()
        session_id = require_recent(caller, moment)
        async with self._uow(caller.tenant_id) as tx:
            user = await hold_own(tx, caller)
            pending = await tx.second_factors.find_pending(user, moment - _TIME_TO_CONFIRM)
            if pending is None:
                raise TotpNotBegun
            step = await self._check.step_of(user, pending, otp)
            if not await tx.second_factors.confirm(user, pending, step, moment):
                raise TotpNotBegun
            codes = await self._put_recovery_codes(tx, user)
            await self._sessions.note_factor(tx, user, session_id)
            tx.outbox.add(entry(caller, "totp.confirm", user.id, object_type="user"))
        logger.info("totp.confirmed", tenant_id=user.tenant_id, user_id=str(user.id))
        return codes

    async def renew_recovery_codes(self, caller: Caller) -> list[str]:
        """Others in place of those before. Raises NoSecondFactor, RecentSignInRequired."""
        async with self._uow(caller.tenant_id) as tx:
            user = await self._find_recent(tx, caller)
            if not (await factors_of(tx, user)).has_any:
                raise NoSecondFactor
            codes = await self._put_recovery_codes(tx, user)
            tx.outbox.add(entry(caller, "recovery_codes.renew", user.id, object_type="user"))
        return codes

    async def remove_totp(self, caller: Caller) -> None:
        """Take the authenticator app away, and all other sessions. Raises TotpNotFound, RecentSignInRequired."""
        async with self._uow(caller.tenant_id) as tx:
            user = await self._find_recent(tx, caller)
            if not await tx.second_factors.delete_totp(user):
                raise TotpNotFound
            await self.settle_loss(tx, user)
            await self._sessions.end_all(tx, user, keep=caller.session_id)
            tx.outbox.add(entry(caller, "totp.remove", user.id, object_type="user"))
        logger.info("totp.removed", tenant_id=user.tenant_id, user_id=str(user.id))

    async def reset(self, caller: Caller, user_id: UserId) -> None:
        """Take all second factors of somebody else away, who has lost them, and end the sessions.

        Raises UserNotFound, OwnersOnly, NotAllowed for one's own, RecentSignInRequired.
        """
        require_recent(caller, self._clock.now())
        if user_id == caller.user_id:
            raise NotAllowed("Your own second factors are changed at /v1/users/me/second-factor.")
        async with self._uow(caller.tenant_id) as tx:
            await require_still(tx, caller, "users.manage", user_id)
            user = await tx.users.find_by_id(caller.tenant_id, user_id)
            if user is None:
                raise UserNotFound
            if user.role is Role.OWNER and not await owns(tx, caller):
                raise OwnersOnly
            await drop_factors(tx, user)
            await self._sessions.end_all(tx, user)
            tx.outbox.add(entry(caller, "user.reset_second_factor", user.id))
        logger.info("second_factors.reset", tenant_id=user.tenant_id, user_id=str(user.id))

    async def settle_loss(self, tx: Tx, user: User) -> None:
        """After a factor was taken away: without another, recovery codes are void, and demanded rights end at once."""
        factors = await factors_of(tx, user)
        if not factors.has_any:
            await tx.second_factors.replace_recovery_codes(user, ())
            if factors.is_required:
                await outdate(tx, self._revisions, user.tenant_id, user.id)

    async def _put_recovery_codes(self, tx: Tx, user: User) -> list[str]:
        codes = [new_recovery_code() for _ in range(RECOVERY_CODES)]
        hashes = [hash_ for code in codes if (hash_ := hash_recovery_code(user, code)) is not None]
        await tx.second_factors.replace_recovery_codes(user, hashes)
        return codes

    async def _find_recent(self, tx: Tx, caller: Caller) -> User:
        require_recent(caller, self._clock.now())
        return await hold_own(tx, caller)


async def drop_factors(tx: Tx, user: User) -> None:
    """Take all second factors of a user away."""
    await tx.second_factors.forget(user)
    await tx.passkeys.forget(user)
