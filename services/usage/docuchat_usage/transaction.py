"""One transaction: the slices' repositories, the outbox and the inbox."""

from __future__ import annotations

from dataclasses import dataclass

import asyncpg

from docuchat_common.erasure import Erasures
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox
from docuchat_usage.documents.repository import DocumentRepository
from docuchat_usage.ledger.repository import LedgerRepository
from docuchat_usage.prices.repository import PriceRepository
from docuchat_usage.quotas.repository import QuotaRepository
from docuchat_usage.removals.repository import LegacyRepository


@dataclass(frozen=True, slots=True)
class Tx:
    """What a unit of work of this service offers."""

    prices: PriceRepository
    quotas: QuotaRepository
    documents: DocumentRepository
    ledger: LedgerRepository
    legacies: LegacyRepository
    requests: IdempotentRequests
    erasures: Erasures
    outbox: Outbox
    inbox: Inbox


def compose(connection: asyncpg.Connection, outbox: Outbox, inbox: Inbox) -> Tx:
    """Everything on one connection."""
    return Tx(
        prices=PriceRepository(connection),
        quotas=QuotaRepository(connection),
        documents=DocumentRepository(connection),
        ledger=LedgerRepository(connection),
        legacies=LegacyRepository(connection),
        requests=IdempotentRequests(connection, "usage"),
        erasures=Erasures(connection, "usage"),
        outbox=outbox,
        inbox=inbox,
    )
