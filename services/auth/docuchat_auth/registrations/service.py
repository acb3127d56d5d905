"""Register: join a tenant that takes strangers, or found one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from docuchat_auth.codes.domain import Account, Challenge, Purpose
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.service import CodeDesk
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.logins.domain import SignedIn
from docuchat_auth.mail import MailBacklog
from docuchat_auth.passwords.service import Passwords
from docuchat_auth.registrations.domain import Application, Registered, new_slug
from docuchat_auth.registrations.errors import AlreadyRegistered, NothingToVerify, SignUpClosed, UsernameTaken
from docuchat_auth.sessions.domain import SignInMethod
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.domain import ANY_TENANT, INVITED_ONLY, SignUpMode, Tenant
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.users.domain import Newcomer, User
from docuchat_auth.users.service import find_own
from docuchat_common.acts import excuse_act
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId
from docuchat_common.rate_limits import Limit, RateLimiter, Rates

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RegistrationPolicy:
    """Who may do what without being asked."""

    self_service_tenants: bool
    first_comer_owns: bool
    per_address: Rates


class Registrations:
    """Makes users of strangers.

    No answer depends on whether an address has an account. Without proof a registration makes a user of its own who
    merely claims the address: it does not sign in to anybody's account, holds no address that another could want, and
    is shown to nobody under it. What depends on the address - joining by domain - needs its proof first.
    """

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        tenants: TenantDirectory,
        sessions: Sessions,
        passwords: Passwords,
        codes: CodeDesk,
        limiter: RateLimiter,
        clock: Clock,
        policy: RegistrationPolicy,
    ) -> None:
        self._uow = uow
        self._tenants = tenants
        self._sessions = sessions
        self._passwords = passwords
        self._codes = codes
        self._limiter = limiter
        self._clock = clock
        self._policy = policy

    async def home_of(self, tenant_id: TenantId, application: Application) -> TenantId:
        """The tenant that keeps what was answered: NO_TENANT for who founds one. Raises SignUpClosed."""
        return NO_TENANT if application.organization else (await self._admit(tenant_id, application)).id

    async def register(
        self,
        tenant_id: TenantId,
        application: Application,
        network: str,
        settle: Settle[Registered | Challenge] = without_key,
    ) -> Registered | Challenge:
        """The user, or the challenge of a code that must be shown first; what was made is settled.

        Raises SignUpClosed, UsernameTaken, AlreadyRegistered (to who has proven the address), InvalidCode,
        TooManyAttempts, MailBacklog, PasswordTooWeak, PasswordsBusy.
        """
        tenant = None
        if application.organization is None:
            tenant = await self._admit(tenant_id, application)
        elif not self._policy.self_service_tenants:
            raise SignUpClosed("Tenants are made by the operator here; ask for one, or for an invitation.")
        limits = (Limit("register-address", network, rate) for rate in self._policy.per_address)
        await self._limiter.require(*limits, error=TooManyAttempts)
        hash_ = await self._passwords.make(
            application.password, network, application.email, application.username, application.name
        )
        if tenant is None:
            return await self._found(application, hash_, network, settle)
        return await self._join(tenant, application, hash_, network, settle)

    async def verify(self, caller: Caller, code: str, challenge: str | None, network: str) -> User:
        """Make the address that the caller claims the caller's own.

        Raises NothingToVerify, InvalidCode, TooManyAttempts, AlreadyRegistered, UserGone.
        """
        user = await self._find_own(caller)
        if user.claimed_email is None:
            raise NothingToVerify
        account = Account(user.tenant_id, user.claimed_email, Purpose.VERIFY)
        await self._codes.prove(account, code, network, challenge)
        async with self._uow(user.tenant_id) as tx:
            if not await tx.users.prove_email(user.tenant_id, user.id, user.claimed_email):
                raise AlreadyRegistered
            tx.outbox.add(entry(caller, "user.verify_email", user.id))
        logger.info("user.email_verified", tenant_id=user.tenant_id, user_id=str(user.id))
        return await self._find_own(caller)

    async def send_again(self, caller: Caller, network: str) -> Challenge:
        """Another code to the address that the caller claims. Raises NothingToVerify, TooManyAttempts, MailBacklog."""
        user = await self._find_own(caller)
        if user.claimed_email is None:
            raise NothingToVerify
        return await self._codes.issue(Account(user.tenant_id, user.claimed_email, Purpose.VERIFY), network)

    async def _admit(self, tenant_id: TenantId, application: Application) -> Tenant:
        async with self._uow.system() as tx:
            tenant = await tx.tenants.find_by_id(tenant_id)
        if tenant_id == ANY_TENANT:
            raise SignUpClosed("Name a tenant (`X-Tenant-ID`), or an `organization` to found one.")
        if tenant is None or not tenant.admits(application.email):
            raise SignUpClosed
        return tenant

    async def _join(
        self,
        tenant: Tenant,
        application: Application,
        hash_: str,
        network: str,
        settle: Settle[Registered | Challenge],
    ) -> Registered | Challenge:
        account = Account(tenant.id, application.email, Purpose.VERIFY) if application.email else None
        if account is not None and application.code is not None:
            await self._codes.prove(account, application.code, network, application.challenge)
            return await self._enter(tenant, application, hash_, None, settle)
        if account is not None and tenant.signup.mode is SignUpMode.DOMAINS:
            excuse_act()
            return await self._codes.issue(account, network)
        return await self._enter(tenant, application, hash_, network, settle)

    async def _found(
        self, application: Application, hash_: str, network: str, settle: Settle[Registered | Challenge]
    ) -> Registered:
        """A tenant whose owner is there before anybody else can come: nobody joins it uninvited."""
        name = application.organization or ""
        tenant, _ = await self._tenants.create(new_slug(name), name, tenant_id=None, signup=INVITED_ONLY, is_part=True)
        done = await self._enter(tenant, application, hash_, network, without_key)
        # the answer is kept apart from the tenant: whoever repeats it after a crash just here founds another one
        async with self._uow(NO_TENANT) as tx:
            await settle(tx, done)
        return done

    async def _enter(
        self,
        tenant: Tenant,
        application: Application,
        hash_: str,
        network: str | None,
        settle: Settle[Registered | Challenge],
    ) -> Registered:
        """The user, signed in. Without a `network` the address was proven; else a code is mailed to it there."""
        is_proven = network is None
        newcomer = Newcomer(
            email=application.email if is_proven else None,
            claimed_email=None if is_proven else application.email,
            username=application.username,
            name=application.name,
        )
        owns = application.organization is not None or self._policy.first_comer_owns
        moment = self._clock.now()
        async with self._uow(tenant.id) as tx:
            user = await tx.users.register(tenant.id, newcomer, moment, may_own=owns)
            if user is None:
                if newcomer.email is not None and await tx.users.find_by_email(tenant.id, newcomer.email):
                    raise AlreadyRegistered
                raise UsernameTaken
            await tx.passwords.put(tenant.id, user.id, hash_, moment)
            await tx.users.record_login(tenant.id, user.id, moment)
            session = await self._sessions.start(tx, user, SignInMethod.REGISTRATION, is_part=True)
            founded = "founded the tenant" if application.organization is not None else None
            tx.outbox.add(entry(Caller(tenant.id, "user", user.id), "user.register", user.id, detail=founded))
            tx.outbox.add(UserRegistered(tenant_id=tenant.id, user_id=user.id, role=user.role.value))
            verification = await self._mail_code(user, network)
            signed_in = SignedIn(user, tenant, await self._sessions.pair(session, tenant), "")
            done = Registered(signed_in, verification)
            await settle(tx, done)
        logger.info("user.registered", tenant_id=tenant.id, user_id=str(user.id), role=user.role.value, by="password")
        return done

    async def _mail_code(self, user: User, network: str | None) -> Challenge | None:
        if network is None or user.claimed_email is None:
            return None
        try:
            return await self._codes.issue(Account(user.tenant_id, user.claimed_email, Purpose.VERIFY), network)
        except (TooManyAttempts, MailBacklog) as error:  # the user is there, and asks for another code later
            logger.info("registration.no_code", tenant_id=user.tenant_id, reason=error.code)
            return None

    async def _find_own(self, caller: Caller) -> User:
        async with self._uow(caller.tenant_id) as tx:
            return await find_own(tx, caller)


__all__ = ["InvalidCode", "RegistrationPolicy", "Registrations"]
