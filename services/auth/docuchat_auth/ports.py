"""What auth's use cases need from the world."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from docuchat_auth.domain import (
    Account,
    CodeRequest,
    Email,
    Redemption,
    RefreshToken,
    SigningAlgorithm,
    SigningKey,
    Slug,
    Tenant,
    User,
)
from docuchat_common.events.envelope import Event
from docuchat_common.ids import TenantId, UserId

Clock = Callable[[], datetime]


class TenantStore(Protocol):
    """The tenants that this transaction may see."""

    async def find_by_id(self, tenant_id: TenantId) -> Tenant | None: ...

    async def find_by_slug(self, slug: Slug) -> Tenant | None: ...

    async def add(self, slug: Slug, name: str, *, signup_open: bool, tenant_id: TenantId | None) -> Tenant:
        """Creates a tenant, with the next free id when none is given. Raises TenantTaken."""
        ...

    async def set_signup(self, slug: Slug, *, is_open: bool) -> Tenant | None:
        """System transactions only: opens or closes a tenant to unknown addresses."""
        ...


class UserStore(Protocol):
    """The users of the transaction's tenant."""

    async def find_by_email(self, tenant_id: TenantId, email: Email) -> User | None: ...

    async def find_by_id(self, tenant_id: TenantId, user_id: UserId) -> User | None: ...

    async def register(self, tenant_id: TenantId, user_id: UserId, email: Email, moment: datetime) -> User | None:
        """Adds a user: the owner when first in the tenant, else a member. None when the address is already there."""
        ...

    async def record_login(self, tenant_id: TenantId, user_id: UserId, moment: datetime) -> None: ...


class RefreshTokenStore(Protocol):
    """The refresh tokens of the transaction's tenant, by the SHA-256 of the token."""

    async def find(self, tenant_id: TenantId, token_hash: bytes) -> RefreshToken | None: ...

    async def lock_family(self, family_id: UUID) -> None:
        """Holds off other transactions on the family until this one ends."""
        ...

    async def add(self, token: RefreshToken, token_hash: bytes) -> None: ...

    async def use(self, tenant_id: TenantId, token_id: UUID, moment: datetime) -> bool:
        """Spends a live token; False when it was spent, revoked or has expired."""
        ...

    async def revoke_family(self, tenant_id: TenantId, family_id: UUID, moment: datetime) -> int:
        """Revokes what is left of the family; returns how many tokens that were."""
        ...

    async def delete_expired(self, before: datetime, limit: int) -> int:
        """System transactions only: forgets tokens that expired before a moment, of any tenant."""
        ...


class SigningKeyStore(Protocol):
    """The signing keys of the installation. System transactions only."""

    async def lock(self) -> None:
        """Holds off other transactions that would create, retire or drop keys until this one ends."""
        ...

    async def list_all(self) -> Sequence[SigningKey]: ...

    async def add(self, key: SigningKey) -> None: ...

    async def retire(self, kid: str, moment: datetime) -> None: ...

    async def drop(self, kid: str) -> None: ...


class EventSink(Protocol):
    """Where events go, in the same transaction."""

    def add(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class AuthTx:
    """One transaction: repositories and the outbox."""

    tenants: TenantStore
    users: UserStore
    refresh_tokens: RefreshTokenStore
    signing_keys: SigningKeyStore
    outbox: EventSink


class AuthUnitOfWork(Protocol):
    """Opens transactions: of one tenant, or of the system."""

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[AuthTx]: ...

    def system(self) -> AbstractAsyncContextManager[AuthTx]: ...


class CodeDigester(Protocol):
    """Makes what is stored of a code."""

    def digest(self, account: Account, code: str) -> str: ...


class CodeStore(Protocol):
    """Holds at most one live code an account, as a keyed digest."""

    async def put(self, account: Account, code: str, *, lifetime: timedelta, guesses: int) -> None:
        """Replaces the account's live code. Raises StoreUnavailable."""
        ...

    async def redeem(self, account: Account, code: str) -> Redemption:
        """Takes one guess, atomically: the right one removes the code, a wrong one costs a guess."""
        ...


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """A named budget of attempts, written as the `limits` library reads it: `5/15minutes;20/day`."""

    name: str
    rate: str


class AttemptLimiter(Protocol):
    """Counts attempts in windows that all processes share."""

    async def hit(self, limit: AttemptLimit, subject: str) -> None:
        """Counts one attempt of a subject. Raises TooManyAttempts with the time to wait, or StoreUnavailable."""
        ...


class CodeMailer(Protocol):
    """Brings a code to its owner."""

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        """Raises MailRefused when every try failed."""
        ...


class CodeQueue(Protocol):
    """Takes codes to be delivered soon, off the request's path."""

    def offer(self, request: CodeRequest) -> None:
        """Raises MailBacklog when too many are waiting."""
        ...


class Pseudonyms(Protocol):
    """Makes names that stand for an address in caches and counters, so that they hold no address."""

    def of_account(self, account: Account) -> str: ...

    def of_email(self, email: Email) -> str: ...


class KeyForge(Protocol):
    """Makes key pairs and signs with them; private keys leave it sealed only."""

    def create(self, algorithm: SigningAlgorithm, *, created_at: datetime, not_before: datetime) -> SigningKey: ...

    def can_open(self, key: SigningKey) -> bool:
        """Whether the private key was sealed under the present secret."""
        ...

    def sign(self, key: SigningKey, claims: dict[str, object]) -> str:
        """A compact JWS of type `at+jwt`. Raises KeySealBroken."""
        ...
