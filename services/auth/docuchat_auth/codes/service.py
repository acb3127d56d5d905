"""Sign in by a six-digit code that comes by mail."""

from dataclasses import dataclass
from datetime import timedelta

import structlog

from docuchat_auth.codes.delivery import DeliveryQueue
from docuchat_auth.codes.domain import Account, CodeRequest, Redemption, new_code
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.ports import AttemptLimit, AttemptLimiter, CodeStore
from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.sessions.domain import TokenPair
from docuchat_auth.sessions.ports import SessionsTx
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.tenants.ports import UnitOfWork
from docuchat_auth.users.domain import Email, User
from docuchat_common.clock import Clock
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.ids import UserId, uuid7

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class SignInPolicy:
    """How codes live and how often they may be asked for and guessed."""

    code_lifetime: timedelta
    guesses: int
    send_per_email: AttemptLimit
    send_per_address: AttemptLimit
    verify_per_account: AttemptLimit
    verify_per_email: AttemptLimit
    verify_per_address: AttemptLimit


class SignIn:
    """Signs in by a six-digit code sent to an e-mail address.

    Nothing on the way of a request depends on whether the address has an account: every address gets a code in the
    store and a place in the queue, and whether a mail is sent is decided there.
    """

    def __init__(
        self,
        uow: UnitOfWork[SessionsTx],
        sessions: Sessions,
        codes: CodeStore,
        limiter: AttemptLimiter,
        pseudonyms: KeyedPseudonyms,
        queue: DeliveryQueue,
        clock: Clock,
        policy: SignInPolicy,
    ) -> None:
        self._uow = uow
        self._sessions = sessions
        self._codes = codes
        self._limiter = limiter
        self._pseudonyms = pseudonyms
        self._queue = queue
        self._clock = clock
        self._policy = policy

    async def request_code(self, tenant: Tenant, email: Email, client_address: str) -> timedelta:
        """Replaces the account's code and queues it; returns its lifetime. Raises TooManyAttempts, MailBacklog."""
        account = Account(tenant.id, email)
        await self._limiter.hit(self._policy.send_per_address, client_address)
        await self._limiter.hit(self._policy.send_per_email, self._pseudonyms.of_email(email))
        code = new_code()
        await self._codes.put(account, code, lifetime=self._policy.code_lifetime, guesses=self._policy.guesses)
        self._queue.offer(CodeRequest(account, code))
        return self._policy.code_lifetime

    async def verify_code(self, tenant: Tenant, email: Email, code: str, client_address: str) -> TokenPair:
        """Signs in, registering the user where sign-up is open. Raises InvalidCode, TooManyAttempts."""
        account = Account(tenant.id, email)
        # counted before the guess, so that parallel guesses cannot overrun; successes count too, so that an owner's own
        # sign-in never hands a guesser a fresh budget
        await self._limiter.hit(self._policy.verify_per_address, client_address)
        await self._limiter.hit(self._policy.verify_per_account, self._pseudonyms.of_account(account))
        await self._limiter.hit(self._policy.verify_per_email, self._pseudonyms.of_email(email))
        if await self._codes.redeem(account, code) is not Redemption.ACCEPTED:
            raise InvalidCode
        async with self._uow(tenant.id) as tx:
            user = await self._enter(tx, account)
            refresh_token = await self._sessions.start(tx, user)
        logger.info("user.signed_in", tenant_id=tenant.id, user_id=str(user.id))
        return await self._sessions.pair(user, tenant, refresh_token)

    async def _enter(self, tx: SessionsTx, account: Account) -> User:
        moment = self._clock.now()
        user = await tx.users.find_by_email(account.tenant_id, account.email)
        if user is None:
            tenant = await tx.tenants.find_by_id(account.tenant_id)
            if tenant is None or not tenant.signup_open:
                raise InvalidCode
            user = await tx.users.register(account.tenant_id, UserId(uuid7()), account.email, moment)
            if user is not None:
                tx.outbox.add(UserRegistered(tenant_id=user.tenant_id, user_id=user.id, role=user.role.value))
                logger.info("user.registered", tenant_id=user.tenant_id, user_id=str(user.id), role=user.role.value)
            else:  # registered meanwhile through another code
                user = await tx.users.find_by_email(account.tenant_id, account.email)
        if user is None or not user.is_active:
            raise InvalidCode
        await tx.users.record_login(user.tenant_id, user.id, moment)
        return user
