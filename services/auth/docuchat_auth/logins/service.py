"""Sign in by password."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter

from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.logins.attempts import Attempts, new_device
from docuchat_auth.logins.domain import Attempt, Candidate, SignedIn
from docuchat_auth.passwords.errors import InvalidCredentials, PasswordsBusy
from docuchat_auth.passwords.hashing import PasswordPool, is_outdated
from docuchat_auth.sessions.domain import SignInMethod
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.domain import ANY_TENANT
from docuchat_auth.tenants.service import choice_of
from docuchat_auth.users.domain import Email, User, Username
from docuchat_common.acts import note_device
from docuchat_common.clock import Clock
from docuchat_common.ids import TenantId, UserId
from docuchat_common.rate_limits import Limit

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_logins = Counter("docuchat_auth_password_logins", "Tries to sign in by password.", ["outcome"])

_MOST_TENANTS: Final = 4
"""Whoever has accounts in more names the tenant: each is a password to check."""
_MOST_ACCOUNTS: Final = 6
"""That one try is checked against."""


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
        known = await self._attempts.find_known(subject, attempt.device)
        groups = await self._count(subject, attempt, await self._find_candidates(attempt, known), known, began)
        candidates = [one for group, _ in groups for one in group]
        try:
            found = await self._pool.check(attempt.password, [one.hash for one in candidates], attempt.network)
        except PasswordsBusy:
            for _, limits in groups:
                await self._attempts.forgive(limits)  # nothing was looked at, so that it was no guess
            raise
        right = [one for one, is_right in zip(candidates, found, strict=True) if is_right]
        if not right:
            await self._wait(began)
            raise InvalidCredentials
        for group, limits in groups:
            if all(one in right and (one.is_proven(attempt) or one.user.id in known) for one in group):
                await self._attempts.forgive(limits)  # right for all of them, so that it was a guess at nobody
            elif any(one.is_proven(attempt) or one.user.id in known for one in right):
                await self._attempts.forgive_network(limits)
        homes = {one.tenant.id: one for one in reversed(right)}  # of two in a tenant the one who has proven the address
        if len(homes) > 1:
            raise choice_of(home.tenant for home in reversed(homes.values()))
        return await self.enter(right[0], attempt, subject, attempt.device if known else None)

    async def enter(self, one: Candidate, attempt: Attempt, subject: str, device: str | None) -> SignedIn:
        """Let somebody in whose password was right, from a `device` that is known."""
        better = None
        if is_outdated(one.hash):
            better = await self._pool.hash(attempt.password, attempt.network)
        named = device or new_device()
        note_device(device or "", named)
        async with self._uow(one.tenant.id) as tx:
            await self._require_still(tx, one, attempt)
            if better is not None:
                await tx.passwords.rehash(one.tenant.id, one.user.id, one.hash, better)
            await tx.users.record_login(one.tenant.id, one.user.id, self._clock.now())
            session = await self._sessions.start(tx, one.user, SignInMethod.PASSWORD, otp=attempt.otp)
        await self._attempts.remember(subject, named, one.user)
        _logins.labels("accepted").inc()
        logger.info("user.signed_in", tenant_id=one.tenant.id, user_id=str(one.user.id), by="password")
        return SignedIn(one.user, one.tenant, await self._sessions.pair(session, one.tenant), named)

    async def forget_failures(self, user: User) -> int:
        """Forget failures at the user's password and second factor, and known devices; how many keys.

        It is an operator's to do: what is counted of an address is whoever's it is, also where it is merely claimed.
        """
        forgotten = 0
        if user.claimed_email:
            forgotten = await self._attempts.forget(self._pseudonyms.of_email(user.claimed_email))
        return forgotten + await self.forget_removed(user)

    async def forget_removed(self, user: User) -> int:
        """Forget what was counted of a user who goes; of an address that was merely claimed only what is this user's.

        Else whoever claims somebody's address in a tenant of their own could begin to guess anew, again and again.
        """
        devices = 0
        subjects = [str(user.id), f"{int(user.tenant_id)}:{user.id}", f"{int(user.tenant_id)}:user:{user.id}"]
        if user.email:
            subjects.append(self._pseudonyms.of_email(user.email))
        elif user.claimed_email:
            devices = await self._attempts.forget_devices(self._pseudonyms.of_email(user.claimed_email), user)
        if user.username:
            subjects.append(f"{int(user.tenant_id)}:{self._pseudonyms.of_username(user.username)}")
        return devices + await self._attempts.forget(*subjects)

    async def _require_still(self, tx: Tx, one: Candidate, attempt: Attempt) -> None:
        """Raise InvalidCredentials when the password was changed since it was read; hold the user until `tx` ends."""
        await tx.users.lock(one.tenant.id, one.user.id)
        held = await tx.passwords.find(one.tenant.id, one.user.id)
        if held == one.hash:
            return
        # another sign-in beside this one may have replaced an outdated hash of the same password
        if held is None or not is_outdated(one.hash):
            raise InvalidCredentials
        if not any(await self._pool.check(attempt.password, [held], attempt.network)):
            raise InvalidCredentials

    async def _count(
        self,
        subject: str,
        attempt: Attempt,
        candidates: Sequence[Candidate],
        known: Mapping[UserId, TenantId],
        began: float,
    ) -> list[tuple[list[Candidate], list[Limit]]]:
        """Whom the password may be checked against, with what was counted for it. Raises TooManyAttempts."""
        wanted = [
            ([one], self._attempts.of_device(attempt.device, one.user.id))
            for one in candidates
            if attempt.device is not None and one.user.id in known
        ]
        others = [one for one in candidates if one.user.id not in known]
        if others or not wanted:
            wanted.append((others, self._attempts.of_strangers(subject, attempt.network)))
        counted: list[tuple[list[Candidate], list[Limit]]] = []
        refusal = None
        for group, limits in wanted:
            try:
                await self._attempts.count(limits)
            except TooManyAttempts as error:
                refusal = error
            else:
                counted.append((group, limits))
        if refusal is not None and not counted:
            await self._wait(began)
            raise refusal
        return counted

    async def _wait(self, began: float) -> None:
        _logins.labels("refused").inc()
        elapsed = asyncio.get_running_loop().time() - began
        await asyncio.sleep(math.ceil(elapsed / self._refuse_after) * self._refuse_after - elapsed)

    def _subject(self, attempt: Attempt) -> str:
        """An address is counted over all tenants, a user name in its own."""
        if attempt.is_email:
            return self._pseudonyms.of_email(Email(attempt.who))
        return f"{int(attempt.tenant_id)}:{self._pseudonyms.of_username(Username(attempt.who))}"

    async def _find_candidates(self, attempt: Attempt, known: Mapping[UserId, TenantId]) -> list[Candidate]:
        """The accounts that this device knows come first, then who has proven the address, then who claims it."""
        found: list[Candidate] = []
        for tenant_id in await self._find_tenants(attempt, known):
            async with self._uow(tenant_id) as tx:
                tenant = await tx.tenants.find_by_id(tenant_id)
                for user in await _find_users(tx, tenant_id, attempt, known):
                    hash_ = await tx.passwords.find(tenant_id, user.id)
                    if tenant is not None and hash_ is not None and user.is_active:
                        found.append(Candidate(user, tenant, hash_))
        found.sort(key=lambda one: (one.user.id not in known, not one.is_proven(attempt)))
        return found[:_MOST_ACCOUNTS]

    async def _find_tenants(self, attempt: Attempt, known: Mapping[UserId, TenantId]) -> list[TenantId]:
        if attempt.tenant_id != ANY_TENANT:
            return [attempt.tenant_id]
        async with self._uow.system() as tx:
            if attempt.is_email:
                homes = await tx.users.find_homes(Email(attempt.who), also_claimed=True)
            else:
                homes = await tx.users.find_homes_of_username(Username(attempt.who))
        return list(dict.fromkeys([*known.values(), *homes]))[:_MOST_TENANTS]


async def _find_users(tx: Tx, tenant_id: TenantId, attempt: Attempt, known: Mapping[UserId, TenantId]) -> list[User]:
    if not attempt.is_email:
        named = await tx.users.find_by_username(tenant_id, Username(attempt.who))
        return [] if named is None else [named]
    email = Email(attempt.who)
    found = [await tx.users.find_by_id(tenant_id, user_id) for user_id, home in known.items() if home == tenant_id]
    found = [user for user in found[:_MOST_ACCOUNTS] if user and email in (user.email, user.claimed_email)]
    found += [await tx.users.find_by_email(tenant_id, email), *await tx.users.list_claimants(tenant_id, email)]
    return list({user.id: user for user in found if user is not None}.values())
