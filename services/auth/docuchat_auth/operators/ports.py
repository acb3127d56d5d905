"""What the use cases of operators need from the world."""

from datetime import datetime
from typing import Protocol
from uuid import UUID

from docuchat_auth.operators.domain import Operator
from docuchat_auth.users.ports import UsersTx


class OperatorStore(Protocol):
    """The operators of the installation. System transactions only."""

    async def find_live(self, operator_id: UUID) -> Operator | None:
        """The operator of a credential that is not revoked."""
        ...

    async def record_use(self, operator_id: UUID, moment: datetime) -> None: ...


class OperatorsTx(UsersTx, Protocol):
    """A transaction with operators as well."""

    @property
    def operators(self) -> OperatorStore: ...
