"""What one transaction of the gateway is made of."""

from dataclasses import dataclass

import asyncpg

from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.passages import PassageReader
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.exports.repository import ExportRepository
from docuchat_knowledge.jobs.reembedding import ReembeddingStore


@dataclass(frozen=True, slots=True)
class GatewayTx:
    """What one transaction of the gateway can do."""

    collections: CollectionRepository
    documents: DocumentRegistry
    passages: PassageReader
    exports: ExportRepository
    requests: IdempotentRequests
    reembedding: ReembeddingStore
    outbox: Outbox


def compose(connection: asyncpg.Connection, outbox: Outbox, _: Inbox) -> GatewayTx:
    """The transaction on `connection`."""
    return GatewayTx(
        collections=CollectionRepository(connection),
        documents=DocumentRegistry(connection),
        passages=PassageReader(connection),
        exports=ExportRepository(connection),
        requests=IdempotentRequests(connection, "knowledge"),
        reembedding=ReembeddingStore(connection),
        outbox=outbox,
    )
