"""In-memory twins of Postgres and Redis for unit tests. The contract tests run them beside the real ones."""

import asyncio
import copy
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID

from docuchat_auth.domain import (
    Account,
    CodeRequest,
    Email,
    Redemption,
    RefreshToken,
    Role,
    SigningKey,
    Slug,
    Tenant,
    User,
)
from docuchat_auth.errors import TenantTaken
from docuchat_auth.ports import AuthTx, Clock
from docuchat_common.events.envelope import Event
from docuchat_common.ids import TenantId, UserId
from docuchat_common.messaging.outbox import InMemoryOutbox


@dataclass
class Tables:
    """What is stored."""

    tenants: dict[TenantId, Tenant] = field(default_factory=dict)
    users: dict[tuple[TenantId, UserId], User] = field(default_factory=dict)
    refresh_tokens: dict[bytes, RefreshToken] = field(default_factory=dict)
    signing_keys: dict[str, SigningKey] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class InMemoryUnitOfWork:
    """Transactions one after the other, each on a copy of the tables that replaces them when it commits."""

    def __init__(self, clock: Clock) -> None:
        self.tables = Tables()
        self._clock = clock
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def __call__(self, tenant_id: TenantId) -> AsyncIterator[AuthTx]:
        async with self._transaction(lambda row_tenant: row_tenant == tenant_id) as tx:
            yield tx

    @asynccontextmanager
    async def system(self) -> AsyncIterator[AuthTx]:
        async with self._transaction(lambda _: True) as tx:
            yield tx

    @asynccontextmanager
    async def _transaction(self, sees: Callable[[TenantId], bool]) -> AsyncIterator[AuthTx]:
        async with self._turn:
            tables = copy.deepcopy(self.tables)
            yield AuthTx(
                tenants=_Tenants(tables, sees, self._clock),
                users=_Users(tables, sees),
                refresh_tokens=_RefreshTokens(tables, sees),
                signing_keys=_SigningKeys(tables),
                outbox=InMemoryOutbox(tables.events),
            )
            self.tables = tables


@dataclass
class _Tenants:
    tables: Tables
    sees: Callable[[TenantId], bool]
    clock: Clock

    async def find_by_id(self, tenant_id: TenantId) -> Tenant | None:
        return self.tables.tenants.get(tenant_id) if self.sees(tenant_id) else None

    async def find_by_slug(self, slug: Slug) -> Tenant | None:
        found = (row for row in self.tables.tenants.values() if row.slug == slug and self.sees(row.id))
        return next(found, None)

    async def add(self, slug: Slug, name: str, *, signup_open: bool, tenant_id: TenantId | None) -> Tenant:
        free = TenantId(max(self.tables.tenants, default=0) + 1)
        chosen = free if tenant_id is None else tenant_id
        if chosen in self.tables.tenants or any(row.slug == slug for row in self.tables.tenants.values()):
            raise TenantTaken
        self.tables.tenants[chosen] = Tenant(chosen, slug, name, signup_open, self.clock())
        return self.tables.tenants[chosen]

    async def set_signup(self, slug: Slug, *, is_open: bool) -> Tenant | None:
        tenant = await self.find_by_slug(slug)
        if tenant is None:
            return None
        self.tables.tenants[tenant.id] = replace(tenant, signup_open=is_open)
        return self.tables.tenants[tenant.id]


@dataclass
class _Users:
    tables: Tables
    sees: Callable[[TenantId], bool]

    async def find_by_email(self, tenant_id: TenantId, email: Email) -> User | None:
        rows = (row for row in self.tables.users.values() if row.tenant_id == tenant_id and row.email == email)
        return next((row for row in rows if self.sees(tenant_id)), None)

    async def find_by_id(self, tenant_id: TenantId, user_id: UserId) -> User | None:
        return self.tables.users.get((tenant_id, user_id)) if self.sees(tenant_id) else None

    async def register(self, tenant_id: TenantId, user_id: UserId, email: Email, moment: datetime) -> User | None:
        if await self.find_by_email(tenant_id, email) is not None:
            return None
        is_first = all(row.tenant_id != tenant_id for row in self.tables.users.values())
        user = User(tenant_id, user_id, email, Role.OWNER if is_first else Role.MEMBER, True, moment, None)
        self.tables.users[tenant_id, user_id] = user
        return user

    async def record_login(self, tenant_id: TenantId, user_id: UserId, moment: datetime) -> None:
        user = self.tables.users[tenant_id, user_id]
        self.tables.users[tenant_id, user_id] = replace(user, last_login_at=moment)


@dataclass
class _RefreshTokens:
    tables: Tables
    sees: Callable[[TenantId], bool]

    async def find(self, tenant_id: TenantId, token_hash: bytes) -> RefreshToken | None:
        row = self.tables.refresh_tokens.get(token_hash)
        return row if row is not None and row.tenant_id == tenant_id and self.sees(tenant_id) else None

    async def lock_family(self, family_id: UUID) -> None:
        """Transactions take turns anyway."""

    async def add(self, token: RefreshToken, token_hash: bytes) -> None:
        self.tables.refresh_tokens[token_hash] = token

    async def use(self, tenant_id: TenantId, token_id: UUID, moment: datetime) -> bool:
        for key, row in self.tables.refresh_tokens.items():
            if row.tenant_id == tenant_id and row.id == token_id and self.sees(tenant_id):
                if row.used_at is not None or row.revoked_at is not None or row.expires_at <= moment:
                    return False
                self.tables.refresh_tokens[key] = replace(row, used_at=moment)
                return True
        return False

    async def revoke_family(self, tenant_id: TenantId, family_id: UUID, moment: datetime) -> int:
        family = [
            key
            for key, row in self.tables.refresh_tokens.items()
            if row.tenant_id == tenant_id
            and row.family_id == family_id
            and row.revoked_at is None
            and self.sees(tenant_id)
        ]
        for key in family:
            self.tables.refresh_tokens[key] = replace(self.tables.refresh_tokens[key], revoked_at=moment)
        return len(family)

    async def delete_expired(self, before: datetime, limit: int) -> int:
        old = [key for key, row in self.tables.refresh_tokens.items() if row.expires_at < before][:limit]
        for key in old:
            del self.tables.refresh_tokens[key]
        return len(old)


@dataclass
class _SigningKeys:
    tables: Tables

    async def lock(self) -> None:
        """Transactions take turns anyway."""

    async def list_all(self) -> Sequence[SigningKey]:
        return sorted(self.tables.signing_keys.values(), key=lambda key: (key.not_before, key.kid))

    async def add(self, key: SigningKey) -> None:
        self.tables.signing_keys[key.kid] = key

    async def retire(self, kid: str, moment: datetime) -> None:
        key = self.tables.signing_keys[kid]
        earlier = moment if key.retired_at is None else min(key.retired_at, moment)
        self.tables.signing_keys[kid] = replace(key, retired_at=earlier)

    async def drop(self, kid: str) -> None:
        self.tables.signing_keys.pop(kid, None)


@dataclass
class _LiveCode:
    code: str
    guesses_left: int
    expires_at: datetime


class InMemoryCodeStore:
    """Codes in a dict."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._codes: dict[Account, _LiveCode] = {}

    async def put(self, account: Account, code: str, *, lifetime: timedelta, guesses: int) -> None:
        self._codes[account] = _LiveCode(code, guesses, self._clock() + lifetime)

    async def redeem(self, account: Account, code: str) -> Redemption:
        live = self._codes.get(account)
        if live is None or live.expires_at <= self._clock():
            return Redemption.MISSING
        if live.code == code:
            del self._codes[account]
            return Redemption.ACCEPTED
        live.guesses_left -= 1
        if live.guesses_left <= 0:
            del self._codes[account]
            return Redemption.EXHAUSTED
        return Redemption.WRONG


@dataclass
class InMemoryMailbox:
    """A mailer and a queue that keep what they are given."""

    requests: list[CodeRequest] = field(default_factory=list)
    mails: list[tuple[Email, str]] = field(default_factory=list)

    def offer(self, request: CodeRequest) -> None:
        self.requests.append(request)

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        self.mails.append((request.account.email, request.code))
