"""Use cases of auth: sign in with a code, stay signed in, and tenants."""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from docuchat_auth.domain import (
    CODE_DIGITS,
    Account,
    CodeRequest,
    Email,
    Redemption,
    RefreshToken,
    Slug,
    Tenant,
    TokenPair,
    User,
    parse_slug,
    parse_tenant_reference,
)
from docuchat_auth.errors import (
    InvalidCode,
    InvalidRefreshToken,
    InvalidSlug,
    RefreshTokenReused,
    TenantNotFound,
    TenantTaken,
    UserGone,
)
from docuchat_auth.keyring import KeyRing
from docuchat_auth.ports import (
    AttemptLimit,
    AttemptLimiter,
    AuthTx,
    AuthUnitOfWork,
    Clock,
    CodeMailer,
    CodeQueue,
    CodeStore,
    Pseudonyms,
)
from docuchat_common.events.catalogue import TenantCreated, UserRegistered
from docuchat_common.ids import TenantId, UserId, uuid7

logger = structlog.get_logger()

_SWEEP_BATCH = 1000


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


class TenantDirectory:
    """Finds tenants by what clients send, and creates them."""

    def __init__(self, uow: AuthUnitOfWork) -> None:
        self._uow = uow

    async def get_by_reference(self, reference: str) -> Tenant:
        """The tenant of an id or slug. Raises TenantNotFound."""
        wanted = parse_tenant_reference(reference)
        if wanted is None:
            raise TenantNotFound
        # which tenant is meant is known only after this, so it is the system's question
        async with self._uow.system() as tx:
            found = await _find_tenant(tx, wanted)
        if found is None:
            raise TenantNotFound
        return found

    async def create(self, slug: str, name: str, *, tenant_id: int | None, signup_open: bool) -> tuple[Tenant, bool]:
        """The tenant and whether it is new: the same slug again (and the same id, when given) changes nothing.

        Raises InvalidSlug; TenantTaken when the id belongs to another slug or the slug to another id.
        """
        valid = parse_slug(slug)
        if valid is None:
            raise InvalidSlug
        wanted = None if tenant_id is None else TenantId(tenant_id)
        async with self._uow.system() as tx:
            known = await tx.tenants.find_by_slug(valid)
            if known is None:
                try:
                    tenant = await tx.tenants.add(valid, name, signup_open=signup_open, tenant_id=wanted)
                except TenantTaken:
                    # lost a race to an equal command, or the id is another tenant's
                    known = await tx.tenants.find_by_slug(valid)
                    if known is None:
                        raise
                else:
                    tx.outbox.add(TenantCreated(tenant_id=tenant.id, slug=tenant.slug, name=tenant.name))
                    logger.info("tenant.created", tenant_id=tenant.id, slug=tenant.slug)
                    return tenant, True
        if wanted is not None and known.id != wanted:
            raise TenantTaken(f"The slug belongs to tenant {known.id}.")
        return known, False

    async def set_signup(self, slug: str, *, is_open: bool) -> Tenant:
        """Opens or closes a tenant to unknown addresses. Raises InvalidSlug, TenantNotFound."""
        valid = parse_slug(slug)
        if valid is None:
            raise InvalidSlug
        async with self._uow.system() as tx:
            tenant = await tx.tenants.set_signup(valid, is_open=is_open)
        if tenant is None:
            raise TenantNotFound
        logger.info("tenant.signup_changed", tenant_id=tenant.id, signup_open=tenant.signup_open)
        return tenant


class Sessions:
    """Issues token pairs; rotates and revokes refresh tokens.

    A refresh token works once. Showing it again, however soon, revokes its whole family: there is no grace period,
    because a thief who is first cannot be told from a client that retries, and a client that lost an answer only signs
    in again.
    """

    def __init__(self, uow: AuthUnitOfWork, keys: KeyRing, clock: Clock, refresh_lifetime: timedelta) -> None:
        self._uow = uow
        self._keys = keys
        self._clock = clock
        self._refresh_lifetime = refresh_lifetime

    async def start(self, tx: AuthTx, user: User) -> str:
        """Opens a family in the caller's transaction; returns its first refresh token."""
        return await self._add_link(tx, user.tenant_id, user.id, family_id=uuid7(), parent_id=None)

    async def pair(self, user: User, tenant: Tenant, refresh_token: str) -> TokenPair:
        """The answer to a client: an access token beside the refresh token."""
        access_token = await self._keys.sign_access_token(user, tenant.slug)
        return TokenPair(access_token, self._keys.token_lifetime, refresh_token)

    async def refresh(self, tenant: Tenant, refresh_token: str) -> TokenPair:
        """Exchanges a refresh token for a new pair. Raises InvalidRefreshToken, RefreshTokenReused."""
        async with self._uow(tenant.id) as tx:
            rotated = await self._rotate(tx, tenant, hash_refresh_token(refresh_token))
        if rotated is None:  # raised here, because the revocation had to be committed
            raise RefreshTokenReused
        user, successor = rotated
        return await self.pair(user, tenant, successor)

    async def end(self, tenant: Tenant, refresh_token: str) -> None:
        """Revokes the token's family; an unknown token is no error (RFC 7009)."""
        async with self._uow(tenant.id) as tx:
            token = await tx.refresh_tokens.find(tenant.id, hash_refresh_token(refresh_token))
            if token is not None:
                await tx.refresh_tokens.lock_family(token.family_id)
                await tx.refresh_tokens.revoke_family(tenant.id, token.family_id, self._clock())

    async def forget_expired(self, keep: timedelta) -> int:
        """Deletes tokens that expired longer than `keep` ago; returns how many."""
        deleted = 0
        while True:
            async with self._uow.system() as tx:
                batch = await tx.refresh_tokens.delete_expired(self._clock() - keep, _SWEEP_BATCH)
            deleted += batch
            if batch < _SWEEP_BATCH:
                return deleted

    async def _rotate(self, tx: AuthTx, tenant: Tenant, token_hash: bytes) -> tuple[User, str] | None:
        """The user and the next token; None when the token was used before and its family is therefore revoked."""
        found = await tx.refresh_tokens.find(tenant.id, token_hash)
        if found is None:
            raise InvalidRefreshToken
        await tx.refresh_tokens.lock_family(found.family_id)
        moment = self._clock()
        user = await tx.users.find_by_id(tenant.id, found.user_id)
        if user is None or not user.is_active:
            raise InvalidRefreshToken
        if await tx.refresh_tokens.use(tenant.id, found.id, moment):
            successor = await self._add_link(tx, tenant.id, user.id, family_id=found.family_id, parent_id=found.id)
            return user, successor
        # read again: what was found may be older than the lock
        token = await tx.refresh_tokens.find(tenant.id, token_hash)
        if token is None or token.used_at is None:
            raise InvalidRefreshToken
        if await tx.refresh_tokens.revoke_family(tenant.id, token.family_id, moment):
            logger.warning(
                "refresh_token.reused", tenant_id=tenant.id, user_id=str(user.id), family_id=str(token.family_id)
            )
        return None

    async def _add_link(
        self, tx: AuthTx, tenant_id: TenantId, user_id: UserId, *, family_id: UUID, parent_id: UUID | None
    ) -> str:
        text = secrets.token_urlsafe(32)
        moment = self._clock()
        link = RefreshToken(
            id=uuid7(),
            tenant_id=tenant_id,
            user_id=user_id,
            family_id=family_id,
            parent_id=parent_id,
            created_at=moment,
            expires_at=moment + self._refresh_lifetime,
            used_at=None,
            revoked_at=None,
        )
        await tx.refresh_tokens.add(link, hash_refresh_token(text))
        return text


class SignIn:
    """Signs in by a six-digit code sent to an e-mail address.

    Nothing on the way of a request depends on whether the address has an account: every address gets a code in the
    store and a place in the queue, and whether a mail is sent is decided there.
    """

    def __init__(
        self,
        uow: AuthUnitOfWork,
        sessions: Sessions,
        codes: CodeStore,
        limiter: AttemptLimiter,
        pseudonyms: Pseudonyms,
        queue: CodeQueue,
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

    async def _enter(self, tx: AuthTx, account: Account) -> User:
        moment = self._clock()
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


class CodeDelivery:
    """Brings a queued code to its owner, when the address is one that may sign in."""

    def __init__(self, uow: AuthUnitOfWork, mailer: CodeMailer, code_lifetime: timedelta) -> None:
        self._uow = uow
        self._mailer = mailer
        self._code_lifetime = code_lifetime

    async def deliver(self, request: CodeRequest) -> None:
        """Sends the mail, or nothing to a stranger of a tenant that takes none. Raises MailRefused."""
        account = request.account
        async with self._uow(account.tenant_id) as tx:
            tenant = await tx.tenants.find_by_id(account.tenant_id)
            user = await tx.users.find_by_email(account.tenant_id, account.email)
        if tenant is None or (user is None and not tenant.signup_open) or (user is not None and not user.is_active):
            logger.info("auth.code_withheld", tenant_id=account.tenant_id)
            return
        await self._mailer.send_code(request, tenant.name, self._code_lifetime)


class Profiles:
    """What users may know of themselves."""

    def __init__(self, uow: AuthUnitOfWork) -> None:
        self._uow = uow

    async def get_own(self, tenant_id: TenantId, user_id: UserId) -> tuple[User, Tenant]:
        """The signed-in user and the tenant. Raises UserGone."""
        async with self._uow(tenant_id) as tx:
            user = await tx.users.find_by_id(tenant_id, user_id)
            tenant = await tx.tenants.find_by_id(tenant_id)
        if user is None or tenant is None or not user.is_active:
            raise UserGone
        return user, tenant


def new_code() -> str:
    """Six random digits, leading zeros included."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def hash_refresh_token(token: str) -> bytes:
    """What is stored of a refresh token. It has 256 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


async def _find_tenant(tx: AuthTx, wanted: TenantId | Slug) -> Tenant | None:
    if isinstance(wanted, int):
        return await tx.tenants.find_by_id(wanted)
    return await tx.tenants.find_by_slug(wanted)


async def sweep(sessions: Sessions, *, every: timedelta, keep: timedelta) -> None:
    """Forgets expired refresh tokens, again and again until cancelled."""
    while True:
        try:
            deleted = await sessions.forget_expired(keep)
            if deleted:
                logger.info("refresh_tokens.swept", deleted=deleted)
        except Exception:
            logger.exception("refresh_tokens.sweep_failed")
        await asyncio.sleep(every.total_seconds())
