"""Ask for the second factor when somebody signs in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter

from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.second_factors.devices import KnownDevices, digest
from docuchat_auth.second_factors.domain import Factors, hash_recovery_code, is_totp, totp_digits
from docuchat_auth.second_factors.totp import TotpSeal, matching_step
from docuchat_auth.sessions.errors import OtpInvalid, OtpRequired
from docuchat_auth.users.domain import User
from docuchat_common.acts import Act, current_act
from docuchat_common.clock import Clock
from docuchat_common.rate_limits import Limit, RateLimiter, Rates

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx

logger = structlog.get_logger()

_NO_ACT: Final = Act("", str)

_proofs = Counter("docuchat_auth_second_factors", "Codes of a second factor that were shown.", ["outcome"])


class SecondFactorCheck:
    """Takes a code of the app once, and a recovery code once.

    Wrong ones have budgets of their own: only who has proven the first factor can use them up. Each device on which the
    user has shown a second factor before has one, which nobody else can use up; all others share the account's, and of
    a network one over all accounts. A recovery code is let through all the same: its 80 random bits are not guessed,
    and it is the last way in.
    """

    def __init__(
        self,
        seal: TotpSeal,
        limiter: RateLimiter,
        devices: KnownDevices,
        failures: Rates,
        per_network: Rates,
        clock: Clock,
    ) -> None:
        self.seal = seal
        self.devices = devices
        self._limiter = limiter
        self._failures = failures
        self._per_network = per_network
        self._clock = clock

    async def require(self, tx: Tx, user: User, otp: str | None) -> str | None:
        """As `sessions.ports.SecondFactor`."""
        factors = await factors_of(tx, user)
        if not factors.are_asked_for:
            return None
        if otp is None:
            raise OtpRequired(methods=factors.methods)
        act = current_act() or _NO_ACT
        limits = await self._count(user, act) if hash_recovery_code(user, otp) is None else []
        how = await self._take(tx, user, otp)
        await self._settle(limits, is_right=how is not None)
        await self.devices.remember(user, act.named, self._clock.now())
        return how

    async def is_missing(self, tx: Tx, user: User, *, was_shown: bool) -> bool:
        """As `sessions.ports.SecondFactor`."""
        tenant = await tx.tenants.find_by_id(user.tenant_id)
        if tenant is None or not tenant.require_second_factor:
            return False
        return not (was_shown and (await factors_of(tx, user)).has_any)

    async def step_of(self, user: User, sealed: bytes, otp: str) -> int:
        """The time step of a code of this secret. Raises OtpInvalid, TooManyAttempts."""
        limits = await self._count(user, _NO_ACT)
        step = self._matching_step(user, sealed, otp) if is_totp(otp) else None
        await self._settle(limits, is_right=step is not None)
        return step or 0

    async def _take(self, tx: Tx, user: User, otp: str) -> str | None:
        if is_totp(otp):
            sealed = await tx.second_factors.find_totp(user)
            step = None if sealed is None else self._matching_step(user, sealed, otp)
            if sealed is None or step is None or not await tx.second_factors.use_step(user, sealed, step):
                return None
            return "totp"
        code_hash = hash_recovery_code(user, otp)
        if code_hash is None or not await tx.second_factors.take_recovery_code(user, code_hash):
            return None
        return "recovery_code"

    def _matching_step(self, user: User, sealed: bytes, otp: str) -> int | None:
        secret = self.seal.open(user, sealed)
        if secret is None:
            logger.warning("totp.unreadable", user_id=str(user.id), hint="sealed under another JWT_SECRET")
            return None
        return matching_step(secret, totp_digits(otp), self._clock.now())

    async def _count(self, user: User, act: Act) -> list[Limit]:
        """Count a try before it is made. Raises TooManyAttempts."""
        subject = f"{user.tenant_id}:{user.id}"
        if await self.devices.knows(user, act.shown):
            known = f"{subject}:{digest(act.shown)}"
            limits = [Limit("otp-known", known, rate, of=subject) for rate in self._failures]
        else:
            limits = [Limit("otp", subject, rate, of=subject) for rate in self._failures]
            address = act.address()
            limits += [Limit("otp-anybody", address, rate) for rate in self._per_network if address]
        try:
            await self._limiter.require(*limits, error=TooManyAttempts)
        except TooManyAttempts:
            _proofs.labels("limited").inc()
            raise
        return limits

    async def _settle(self, limits: list[Limit], *, is_right: bool) -> None:
        """Take the try back when it was right. Raises OtpInvalid."""
        _proofs.labels("accepted" if is_right else "wrong").inc()
        if not is_right:
            raise OtpInvalid
        await self._limiter.give_back(*limits)


async def factors_of(tx: Tx, user: User) -> Factors:
    """What a user has, and what the tenant wants."""
    has_totp, recovery_codes = await tx.second_factors.count(user)
    tenant = await tx.tenants.find_by_id(user.tenant_id)
    return Factors(
        has_totp=has_totp,
        passkeys=await tx.passkeys.count(user),
        recovery_codes=recovery_codes,
        is_required=tenant is not None and tenant.require_second_factor,
    )
