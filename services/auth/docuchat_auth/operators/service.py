"""Check operators' credentials, and give new tenants their first owner."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from docuchat_auth.domains.errors import DomainNotFound
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.members.service import ForgetGuesses
from docuchat_auth.operators.domain import Operator, OperatorToken
from docuchat_auth.operators.errors import InvalidOperatorKey
from docuchat_auth.second_factors.service import drop_factors
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.signing_keys.service import OPERATOR_TOKEN_LIFETIME, KeyRing
from docuchat_auth.tenants.domain import INVITED_ONLY, SignUp, SignUpMode, Tenant, parse_domain
from docuchat_auth.tenants.errors import TenantTaken
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.users.domain import Email, Newcomer
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.acts import excuse_act, part_act
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.operator_keys import parse_operator_key
from docuchat_common.contracts.permissions import Role
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, UserId
from docuchat_common.rate_limits import Limit, Rate, RateLimiter

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_FAILURES_PER_ADDRESS = Rate(60, timedelta(minutes=1))


class Operators:
    """Exchanges credentials for tokens."""

    def __init__(self, uow: UnitOfWork[Tx], keys: KeyRing, limiter: RateLimiter, clock: Clock) -> None:
        self._uow = uow
        self._keys = keys
        self._limiter = limiter
        self._clock = clock

    async def exchange(self, text: str, client_address: str) -> OperatorToken:
        """A short token for the credential `text`. Raises InvalidOperatorKey, TooManyAttempts."""
        try:
            operator = await self._prove(text)
        except InvalidOperatorKey:  # 256 bits are not guessed: only junk is counted, and refuses nobody who is right
            junk = Limit("operator-address", client_address, _FAILURES_PER_ADDRESS)
            await self._limiter.require(junk, error=TooManyAttempts)
            raise
        logger.info("operator.signed_in", operator_id=str(operator.id), operator=operator.name)
        return OperatorToken(await self._keys.sign_operator_token(operator.id), OPERATOR_TOKEN_LIFETIME)

    async def _prove(self, text: str) -> Operator:
        key = parse_operator_key(text)
        if key is None:
            raise InvalidOperatorKey
        async with self._uow.system() as tx:
            operator = await tx.operators.find_live(key.id)
            if operator is None or not hmac.compare_digest(operator.secret_hash, key.secret_hash):
                raise InvalidOperatorKey
            await tx.operators.record_use(operator.id, self._clock.now())
            tx.outbox.add(entry(Caller(NO_TENANT, "operator", operator.id), "operator.sign_in", operator.id))
        return operator


class SignInReset:
    """Gives those back their sign-in who were locked out, or have lost a device."""

    def __init__(self, uow: UnitOfWork[Tx], sessions: Sessions, forget_guesses: Sequence[ForgetGuesses]) -> None:
        self._uow = uow
        self._sessions = sessions
        self._forget_guesses = forget_guesses

    async def reset(self, tenant_id: TenantId, user_id: UserId, *, second_factors: bool = False) -> None:
        """End all sessions of a user, and forget failed guesses and known devices. Raises UserNotFound.

        Links to identity providers are cut, where the user's proven address can be linked again. With `second_factors`
        those are taken away, too: whoever has the password or reads the mail gets in.
        """
        async with self._uow(tenant_id) as tx:
            user = await tx.users.find_by_id(tenant_id, user_id)
            if user is None:
                raise UserNotFound
            await self._sessions.end_all(tx, user)
            if second_factors:
                await drop_factors(tx, user)
            taken = ["second factors taken away"] if second_factors else []
            # who has no proven address would come back as somebody else
            if user.email is not None and (cut := await tx.federated_identities.unlink(tenant_id, user_id)):
                taken.append(f"{cut} links to identity providers cut")
            detail = ", ".join(taken) or None
            tx.outbox.add(entry(None, "user.reset_sign_in", user_id, tenant_id=tenant_id, detail=detail))
        for forget in self._forget_guesses:
            await forget(user)
        logger.info("user.sign_in_reset", tenant_id=tenant_id, user_id=str(user_id))


class TenantFounding:
    """Creates tenants together with their first owner."""

    def __init__(self, uow: UnitOfWork[Tx], tenants: TenantDirectory, clock: Clock) -> None:
        self._uow = uow
        self._tenants = tenants
        self._clock = clock

    async def create(
        self,
        slug: str,
        name: str,
        owner: Email,
        *,
        signup: SignUp,
        by: Caller | None = None,
        settle: Settle[tuple[Tenant, bool]] = without_key,
    ) -> tuple[Tenant, bool]:
        """The tenant and whether it is new; the same slug and owner again change nothing.

        It takes nobody else before it has its owner.

        Raises InvalidSlug; TenantTaken when the slug belongs to a tenant that somebody else owns.
        """
        tenant, is_new = await self._tenants.create(slug, name, tenant_id=None, by=by, signup=INVITED_ONLY)
        has_changed = is_new
        # a crash in between leaves a tenant that is closed and empty; the command given again completes it
        async with self._uow(tenant.id) as tx:
            user = await tx.users.register(tenant.id, Newcomer(email=owner), self._clock.now())
            if user is None:
                user = await tx.users.find_by_email(tenant.id, owner)
            else:
                tx.outbox.add(UserRegistered(tenant_id=tenant.id, user_id=user.id, role=user.role.value))
                if not is_new:
                    tx.outbox.add(entry(by, "tenant.create", tenant.id, tenant_id=tenant.id, detail="its first owner"))
                    has_changed = True
            if user is None or user.role is not Role.OWNER:
                raise TenantTaken(f"The slug belongs to tenant {tenant.id}, which has another owner.")
        if is_new and signup != INVITED_ONLY:
            part_act("tenant.change")
            tenant = await self._tenants.set_signup(tenant.id, signup, by=by)
        if not has_changed:
            excuse_act()
        # the key is the operator's, of no tenant; a crash before this line is mended as above
        async with self._uow(NO_TENANT) as tx:
            await settle(tx, (tenant, is_new))
        return tenant, is_new


class DomainRelease:
    """Takes a domain from a tenant that does not give it up, though it has changed hands."""

    def __init__(self, uow: UnitOfWork[Tx], tenants: TenantDirectory) -> None:
        self._uow = uow
        self._tenants = tenants

    async def release(self, tenant: Tenant, text: str, by: Caller | None) -> None:
        """The tenant's sign-up names it no more, either. Another tenant may prove it then. Raises DomainNotFound."""
        name = parse_domain(text)
        async with self._uow(tenant.id) as tx:
            domain = None if name is None else await tx.domains.find_by_name(tenant.id, name)
        if name is None or domain is None:
            raise DomainNotFound("The tenant has added no such domain; what its sign-up names is `set-signup`'s.")
        if name in tenant.signup.domains:  # first: whoever repeats it after a crash in between finds the domain
            rest = tenant.signup.domains - {name}
            part_act("tenant.change")
            await self._tenants.set_signup(tenant.id, SignUp(SignUpMode.DOMAINS, rest) if rest else INVITED_ONLY, by=by)
        async with self._uow(tenant.id) as tx:
            if not await tx.domains.delete(tenant.id, domain.id):
                raise DomainNotFound("The tenant has given the domain up meanwhile.")
            await tx.requests.forget_about(tenant.id, domain.id)
            tx.outbox.add(entry(by, "domain.release", domain.id, tenant_id=tenant.id, detail=name))
        logger.info("domain.released", tenant_id=tenant.id, domain_id=str(domain.id))


class UserImport:
    """Brings users along from elsewhere, with the hashes of their passwords."""

    def __init__(self, uow: UnitOfWork[Tx], clock: Clock) -> None:
        self._uow = uow
        self._clock = clock

    async def add(self, tenant: Tenant, newcomer: Newcomer, role: Role, password_hash: str | None) -> bool:
        """Whether the user is new; who is there already stays as is. Whoever imports vouches for the address."""
        moment = self._clock.now()
        async with self._uow(tenant.id) as tx:
            user = await tx.users.register(tenant.id, newcomer, moment, may_own=False, role=role)
            if user is None:
                return False
            if password_hash is not None:
                await tx.passwords.put(tenant.id, user.id, password_hash, moment)
            tx.outbox.add(UserRegistered(tenant_id=tenant.id, user_id=user.id, role=user.role.value))
            tx.outbox.add(entry(None, "user.import", user.id, tenant_id=tenant.id))
        return True
