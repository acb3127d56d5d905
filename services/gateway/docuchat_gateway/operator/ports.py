"""What the operator's use cases need of the world."""

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from docuchat_gateway.transaction import GatewayTx


class OpenSystemTransaction(Protocol):
    """A unit of work across tenants."""

    def __call__(self) -> AbstractAsyncContextManager[GatewayTx]: ...
