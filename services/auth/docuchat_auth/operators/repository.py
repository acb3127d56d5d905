"""Operators in Postgres: rows in, domain objects out."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.operators.domain import Operator
from docuchat_common.db import load_queries

_queries: Any = load_queries("docuchat_auth.operators")


class OperatorRepository:
    """The operators of the installation. System transactions only."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find_live(self, operator_id: UUID) -> Operator | None:
        """The operator of a credential that is not revoked."""
        row = await _queries.find_live_operator(self._connection, operator_id=operator_id)
        return None if row is None else Operator(row["id"], row["name"], row["secret_hash"])

    async def record_use(self, operator_id: UUID, moment: datetime) -> None:
        await _queries.record_use(self._connection, operator_id=operator_id, moment=moment)
