"""Passwords in Postgres, as hashes."""

from datetime import datetime
from typing import Any

import asyncpg

from docuchat_auth.users.presence import user_still_there
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.passwords")


class PasswordRepository:
    """The passwords of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def find(self, tenant_id: TenantId, user_id: UserId) -> str | None:
        found: str | None = await _queries.find_password(self._connection, tenant_id=tenant_id, user_id=user_id)
        return found

    async def put(self, tenant_id: TenantId, user_id: UserId, hash_: str, moment: datetime) -> None:
        """Raises UserGone."""
        with user_still_there():
            await _queries.put_password(
                self._connection, tenant_id=tenant_id, user_id=user_id, hash=hash_, moment=moment
            )

    async def rehash(self, tenant_id: TenantId, user_id: UserId, older: str, hash_: str) -> None:
        """Replace a hash by another of the same password; nothing when the password was changed meanwhile."""
        await _queries.rehash_password(self._connection, tenant_id=tenant_id, user_id=user_id, older=older, hash=hash_)
