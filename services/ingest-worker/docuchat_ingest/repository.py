"""The unit of work's content. The SQL of schema `knowledge` is in docuchat_knowledge, and only there."""

import asyncpg

from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox
from docuchat_ingest.ports import Transaction
from docuchat_knowledge.jobs.repository import ClaimStore, WorkerStore


def compose(connection: asyncpg.Connection, outbox: Outbox, _: Inbox) -> Transaction:
    return Transaction(claims=ClaimStore(connection), writes=WorkerStore(connection), outbox=outbox)
