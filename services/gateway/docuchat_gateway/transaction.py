"""What one transaction of the gateway is made of."""

from dataclasses import dataclass

import asyncpg

from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.repository import DocumentRegistry


@dataclass(frozen=True, slots=True)
class GatewayTx:
    """What one transaction of the gateway can do."""

    collections: CollectionRepository
    documents: DocumentRegistry
    outbox: Outbox


def compose(connection: asyncpg.Connection, outbox: Outbox, _: Inbox) -> GatewayTx:
    """The transaction on `connection`."""
    return GatewayTx(
        collections=CollectionRepository(connection), documents=DocumentRegistry(connection), outbox=outbox
    )
