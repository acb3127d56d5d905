"""Signing keys in Postgres: rows in, domain objects out."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from docuchat_auth.signing_keys.domain import SigningAlgorithm, SigningKey
from docuchat_common.db import load_queries

_queries: Any = load_queries("docuchat_auth.signing_keys")


class SigningKeyRepository:
    """The signing keys of the installation. System transactions only."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock(self) -> None:
        """Hold off other transactions that would create, retire or drop keys until this one ends."""
        await _queries.lock_signing_keys(self._connection)

    async def list_all(self) -> Sequence[SigningKey]:
        return [_signing_key(row) async for row in _queries.list_signing_keys(self._connection)]

    async def add(self, key: SigningKey) -> None:
        await _queries.add_signing_key(
            self._connection,
            kid=key.kid,
            algorithm=key.algorithm.value,
            public_jwk=json.dumps(dict(key.public_jwk)),
            sealed_private_key=key.sealed_private_key,
            created_at=key.created_at,
            not_before=key.not_before,
        )

    async def retire(self, kid: str, moment: datetime) -> None:
        await _queries.retire_signing_key(self._connection, kid=kid, moment=moment)

    async def drop(self, kid: str) -> None:
        await _queries.drop_signing_key(self._connection, kid=kid)


def _signing_key(row: asyncpg.Record) -> SigningKey:
    return SigningKey(
        kid=row["kid"],
        algorithm=SigningAlgorithm(row["algorithm"]),
        public_jwk=json.loads(row["public_jwk"]),
        sealed_private_key=row["sealed_private_key"],
        created_at=row["created_at"],
        not_before=row["not_before"],
        retired_at=row["retired_at"],
    )
