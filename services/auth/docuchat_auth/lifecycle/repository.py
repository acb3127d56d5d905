"""Receipts in Postgres: rows in, domain objects out."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.lifecycle.domain import PARTS, Part, Receipt, ReceiptMail
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId

_queries: Any = load_queries("docuchat_auth.lifecycle")


class ReceiptRepository:
    """The receipts of deleted tenants. System transactions only."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def add(self, tenant_id: TenantId, customer_id: UUID, moment: datetime, mail_to: Sequence[str]) -> None:
        """Note that an erasure begins; who of `mail_to` has the receipt is forgotten."""
        await _queries.add_receipt(
            self._connection, tenant_id=tenant_id, customer_id=customer_id, moment=moment, mail_to=list(mail_to)
        )

    async def find(self, reference: TenantId | UUID) -> Receipt | None:
        """The receipt of a deleted tenant."""
        number, customer_id = (None, reference) if isinstance(reference, UUID) else (reference, None)
        row = await _queries.find_receipt(self._connection, tenant_id=number, customer_id=customer_id)
        return None if row is None else _receipt(row)

    async def note(self, tenant_id: TenantId, service: str, part: Part, moment: datetime) -> None:
        """Add what a service said; what it says again changes nothing."""
        said = {"erased_at": part.erased_at.isoformat(), "erased": dict(part.erased), "kept": dict(part.kept)}
        await _queries.note_part(
            self._connection,
            tenant_id=tenant_id,
            service=service,
            part=json.dumps(said),
            expected=list(PARTS),
            moment=moment,
        )

    async def take_to_mail(self, moment: datetime, again_at: datetime) -> list[ReceiptMail]:
        """Complete receipts that somebody is still to get. Nobody else takes them before `again_at`."""
        rows = _queries.take_to_mail(self._connection, moment=moment, again_at=again_at)
        return [ReceiptMail(_receipt(row), tuple(row["mail_to"])) async for row in rows]

    async def forget_address(self, tenant_id: TenantId, address: str) -> None:
        """An owner has the receipt, or cannot be reached."""
        await _queries.forget_address(self._connection, tenant_id=tenant_id, address=address)


def _receipt(row: asyncpg.Record) -> Receipt:
    return Receipt(
        tenant_id=TenantId(row["tenant_id"]),
        customer_id=row["customer_id"],
        begun_at=row["begun_at"],
        finished_at=row["finished_at"],
        parts={
            service: Part(datetime.fromisoformat(part["erased_at"]), part["erased"], part["kept"])
            for service, part in json.loads(row["parts"]).items()
        },
    )
