"""What the use cases of users need from the world."""

from datetime import datetime
from typing import Protocol

from docuchat_auth.tenants.ports import TenantsTx
from docuchat_auth.users.domain import Email, User, UserFilter
from docuchat_common.ids import TenantId, UserId


class UserStore(Protocol):
    """The users of the transaction's tenant."""

    async def find_by_email(self, tenant_id: TenantId, email: Email) -> User | None: ...

    async def find_by_id(self, tenant_id: TenantId, user_id: UserId) -> User | None: ...

    async def list_after(
        self, tenant_id: TenantId, after: UserId | None, wanted: UserFilter, limit: int
    ) -> list[User]: ...

    async def register(self, tenant_id: TenantId, user_id: UserId, email: Email, moment: datetime) -> User | None:
        """Add a user: the owner when first in the tenant, else a member. None when the address is already there."""
        ...

    async def record_login(self, tenant_id: TenantId, user_id: UserId, moment: datetime) -> None: ...


class UsersTx(TenantsTx, Protocol):
    """A transaction with users as well."""

    @property
    def users(self) -> UserStore: ...
