"""What the use cases of tenants need from the world."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from docuchat_auth.tenants.domain import Slug, Tenant
from docuchat_common.events.envelope import Event
from docuchat_common.ids import TenantId

Tx_co = TypeVar("Tx_co", covariant=True)


class EventSink(Protocol):
    """Where events go, in the same transaction."""

    def add(self, event: Event) -> None: ...


class UnitOfWork(Protocol[Tx_co]):
    """Opens transactions: of one tenant, or of the system."""

    def __call__(self, tenant_id: TenantId) -> AbstractAsyncContextManager[Tx_co]: ...

    def system(self) -> AbstractAsyncContextManager[Tx_co]: ...


class TenantStore(Protocol):
    """The tenants that this transaction may see."""

    async def find_by_id(self, tenant_id: TenantId) -> Tenant | None: ...

    async def find_by_slug(self, slug: Slug) -> Tenant | None: ...

    async def list_after(self, tenant_id: int, limit: int) -> list[Tenant]:
        """System transactions only: the tenants with the next greater ids."""
        ...

    async def add(self, slug: Slug, name: str, *, signup_open: bool, tenant_id: TenantId | None) -> Tenant:
        """Create a tenant, with the next free id when none is given. Raises TenantTaken."""
        ...

    async def set_signup(self, slug: Slug, *, is_open: bool) -> Tenant | None:
        """System transactions only: open or close a tenant to unknown addresses."""
        ...


class TenantsTx(Protocol):
    """A transaction with tenants and the outbox."""

    @property
    def tenants(self) -> TenantStore: ...

    @property
    def outbox(self) -> EventSink: ...
