"""Sign in by a six-digit code that comes by mail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client import Counter

from docuchat_auth.codes.domain import (
    Account,
    Challenge,
    CodeRequest,
    ProvenCode,
    Purpose,
    Redemption,
    challenge_name,
    new_challenge,
    new_code,
)
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.codes.store import CodeStore
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.sessions.domain import SignInMethod, TokenPair
from docuchat_auth.sessions.errors import OtpInvalid, OtpRequired
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.domain import ANY_TENANT, Tenant
from docuchat_auth.tenants.service import choice_of
from docuchat_auth.users.domain import Email, Newcomer, User
from docuchat_common.acts import note_device
from docuchat_common.clock import Clock
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.ids import TenantId
from docuchat_common.rate_limits import Limit, RateLimiter, Rates

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_guesses = Counter("docuchat_auth_code_guesses", "Guesses at a sign-in code.", ["outcome"])

_TIME_TO_CHOOSE: Final = timedelta(minutes=5)
"""For somebody in several tenants, whose code was right."""


@dataclass(frozen=True, slots=True)
class SignInPolicy:
    """How codes live and how often they may be asked for and guessed."""

    code_lifetime: timedelta
    send_per_browser: Rates
    send_per_email: Rates
    send_per_email_and_address: Rates
    send_per_address: Rates
    verify_per_address: Rates


class CodeDesk:
    """Issues codes and takes them back.

    Nothing on the way of a request depends on whether the tenant or the address exists: every address gets a code in
    the store, and whether a mail is sent is decided when it is delivered.
    """

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        codes: CodeStore,
        limiter: RateLimiter,
        pseudonyms: KeyedPseudonyms,
        hand_over: Callable[[CodeRequest], Awaitable[None]],
        policy: SignInPolicy,
    ) -> None:
        """`hand_over` takes a code on its way to the owner."""
        self._uow = uow
        self._codes = codes
        self._limiter = limiter
        self._pseudonyms = pseudonyms
        self._hand_over = hand_over
        self._policy = policy

    async def issue(self, account: Account, client_address: str, challenge: str | None = None) -> Challenge:
        """Send a code; the challenge binds guesses at it to whoever asked. Raises TooManyAttempts, MailBacklog.

        `challenge` is the one that this browser signed in with before. It has its own budget of mails then, which
        nobody else can use up.
        """
        is_known = await self._codes.knows(account, challenge)
        if is_known:  # whatever others do at the same address
            subject = self._pseudonyms.of_account(account)
            owner = self._pseudonyms.of_email(account.email)
            limits = _limits("send-browser", subject, self._policy.send_per_browser, of=owner)
        else:
            subject = self._pseudonyms.of_email(account.email)
            # mails to those who claim an address use up nothing of whoever's it is
            apart = "claim-" if account.purpose is Purpose.VERIFY else ""
            pair = f"{subject}:{client_address}"
            limits = _limits("send-address", client_address, self._policy.send_per_address)
            limits += _limits(f"{apart}send-email", subject, self._policy.send_per_email, of=subject)
            limits += _limits(f"{apart}send-pair", pair, self._policy.send_per_email_and_address, of=subject)
        await self._limiter.require(*limits, error=TooManyAttempts)
        code, new = new_code(), new_challenge()
        browser = challenge_name(challenge) if is_known and challenge else ""
        await self._codes.put(account, new, code, lifetime=self._policy.code_lifetime, browser=browser)
        await self._hand_over(CodeRequest(account, code))
        return Challenge(new, self._policy.code_lifetime)

    async def prove(self, account: Account, code: str, client_address: str, challenge: str | None = None) -> ProvenCode:
        """Take a code, once.

        Raises InvalidCode, TooManyAttempts, and ChooseTenant when the code was asked for without a tenant and its owner
        is in several; it is then good once in each of them.
        """
        # who shows a challenge has budgets of the account; only bare guesses share one with others at the same address
        counted = [] if challenge else _limits("verify-address", client_address, self._policy.verify_per_address)
        await self._limiter.require(*counted, error=TooManyAttempts)
        browser = await self._codes.browser_of(account, challenge) if challenge else ""
        outcome, wait = await self._codes.redeem(account, challenge, code, network=client_address)
        _guesses.labels(outcome.value).inc()
        if outcome is Redemption.LIMITED:
            raise TooManyAttempts(retry_after=wait)
        if outcome is not Redemption.ACCEPTED:
            raise InvalidCode
        await self._limiter.give_back(*counted)
        if account.tenant_id != ANY_TENANT:
            return ProvenCode(account, code, challenge, wait, browser)
        async with self._uow.system() as tx:
            homes = [await tx.tenants.find_by_id(home) for home in await tx.users.find_homes(account.email)]
        tenants = [tenant for tenant in homes if tenant is not None]
        if not tenants:
            raise InvalidCode
        if len(tenants) == 1:
            return ProvenCode(replace(account, tenant_id=tenants[0].id), code, challenge, wait, browser)
        for tenant in tenants:
            await self._codes.put(
                replace(account, tenant_id=tenant.id),
                challenge or new_challenge(),
                code,
                lifetime=_TIME_TO_CHOOSE,
                browser=browser,
            )
        raise choice_of(tenants)

    async def give_back(self, proven: ProvenCode) -> None:
        """Make a code good again for what it had left: it was right, and something else was missing."""
        if proven.left > timedelta(0):
            challenge = proven.challenge or new_challenge()
            await self._codes.put(proven.account, challenge, proven.code, lifetime=proven.left, browser=proven.browser)


class SignIn:
    """Signs in by a six-digit code sent to an e-mail address."""

    def __init__(
        self, uow: UnitOfWork[Tx], sessions: Sessions, desk: CodeDesk, clock: Clock, *, first_comer_owns: bool
    ) -> None:
        """`first_comer_owns`: who joins an open tenant that has nobody yet is its owner."""
        self._uow = uow
        self._sessions = sessions
        self._desk = desk
        self._clock = clock
        self._first_comer_owns = first_comer_owns

    async def request_code(
        self, tenant_id: TenantId, email: Email, client_address: str, challenge: str | None = None
    ) -> Challenge:
        """Send a code. Raises TooManyAttempts, MailBacklog."""
        return await self._desk.issue(Account(tenant_id, email), client_address, challenge)

    async def verify_code(
        self,
        tenant_id: TenantId,
        email: Email,
        code: str,
        client_address: str,
        challenge: str | None = None,
        otp: str | None = None,
    ) -> TokenPair:
        """Sign in, registering the user where the tenant admits the address.

        Where only the second factor was wrong or missing the code stays good. Raises InvalidCode, TooManyAttempts,
        ChooseTenant, OtpRequired, OtpInvalid.
        """
        account = Account(tenant_id, email)
        proven = await self._desk.prove(account, code, client_address, challenge)
        note_device(proven.browser, challenge_name(challenge) if challenge else "")
        try:
            async with self._uow(proven.account.tenant_id) as tx:
                user, tenant = await self._enter(tx, proven.account)
                session = await self._sessions.start(tx, user, SignInMethod.CODE, otp=otp)
        except (OtpRequired, OtpInvalid, TooManyAttempts):
            await self._desk.give_back(proven)
            raise
        logger.info("user.signed_in", tenant_id=user.tenant_id, user_id=str(user.id))
        return await self._sessions.pair(session, tenant)

    async def _enter(self, tx: Tx, account: Account) -> tuple[User, Tenant]:
        moment = self._clock.now()
        tenant = await tx.tenants.find_by_id(account.tenant_id)
        if tenant is None:
            raise InvalidCode
        user = await tx.users.find_by_email(tenant.id, account.email)
        if user is None:
            if not tenant.admits(account.email):
                raise InvalidCode
            newcomer = Newcomer(email=account.email)
            user = await tx.users.register(tenant.id, newcomer, moment, may_own=self._first_comer_owns)
            if user is not None:
                tx.outbox.add(UserRegistered(tenant_id=user.tenant_id, user_id=user.id, role=user.role.value))
                logger.info("user.registered", tenant_id=user.tenant_id, user_id=str(user.id), role=user.role.value)
            else:  # registered meanwhile through another code
                user = await tx.users.find_by_email(tenant.id, account.email)
        if user is None or not user.is_active:
            raise InvalidCode
        await tx.users.record_login(user.tenant_id, user.id, moment)
        return user, tenant


def _limits(name: str, subject: str, rates: Rates, of: str = "") -> list[Limit]:
    return [Limit(name, subject, rate, of) for rate in rates]
