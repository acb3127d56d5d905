"""Receipts of people in Postgres: rows in, domain objects out."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.lifecycle.domain import Part
from docuchat_auth.user_erasures.domain import PARTS, OpenErasure, UserReceipt
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.user_erasures")


class UserReceiptRepository:
    """The receipts of erased users that this transaction may see."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def count_rows(self, tenant_id: TenantId, user_id: UserId) -> dict[str, int]:
        """How many rows of each table go with a user."""
        rows = _queries.list_rows_of(self._connection, tenant_id=tenant_id, user_id=user_id)
        return {row["name"]: row["amount"] async for row in rows}

    async def add(
        self,
        tenant_id: TenantId,
        user_id: UserId,
        key_ids: Sequence[UUID],
        moment: datetime,
        erased: Mapping[str, int],
    ) -> None:
        """Note that a user, with these keys, is being erased, and how much goes at once."""
        await _queries.add_receipt(
            self._connection,
            tenant_id=tenant_id,
            user_id=user_id,
            key_ids=list(key_ids),
            moment=moment,
            erased=json.dumps(dict(erased)),
        )

    async def find(self, tenant_id: TenantId, user_id: UserId) -> UserReceipt | None:
        """The receipt of an erased user."""
        row = await _queries.find_receipt(self._connection, tenant_id=tenant_id, user_id=user_id)
        return None if row is None else _receipt(row)

    async def list_open(self) -> list[OpenErasure]:
        """System transactions only: users of whom auth has not said what is gone, some of them."""
        return [
            OpenErasure(TenantId(row["tenant_id"]), UserId(row["user_id"]))
            async for row in _queries.list_open(self._connection)
        ]

    async def count(self, tenant_id: TenantId, user_id: UserId, name: str, amount: int) -> None:
        """System transactions only: add to what auth has erased of a user, in the transaction that does it."""
        await _queries.count_erased(self._connection, tenant_id=tenant_id, user_id=user_id, name=name, amount=amount)

    async def find_erased(self, one: OpenErasure) -> dict[str, int]:
        """System transactions only: what auth has erased of a user so far."""
        found = await _queries.find_erased(self._connection, tenant_id=one.tenant_id, user_id=one.user_id)
        return dict(json.loads(found or "{}"))

    async def note(self, tenant_id: TenantId, user_id: UserId, service: str, part: Part, moment: datetime) -> bool:
        """System transactions only: add what a service said; False, and nothing is changed, when it had."""
        said = {"erased_at": part.erased_at.isoformat(), "erased": dict(part.erased), "kept": dict(part.kept)}
        noted = await _queries.note_part(
            self._connection,
            tenant_id=tenant_id,
            user_id=user_id,
            service=service,
            part=json.dumps(said),
            expected=list(PARTS),
            moment=moment,
        )
        return noted is True


def _receipt(row: asyncpg.Record) -> UserReceipt:
    return UserReceipt(
        tenant_id=TenantId(row["tenant_id"]),
        user_id=UserId(row["user_id"]),
        begun_at=row["begun_at"],
        finished_at=row["finished_at"],
        parts={
            service: Part(datetime.fromisoformat(part["erased_at"]), part["erased"], part["kept"])
            for service, part in json.loads(row["parts"]).items()
        },
    )
