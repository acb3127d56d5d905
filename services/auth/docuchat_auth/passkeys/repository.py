"""Passkeys in Postgres: rows in, domain objects out."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.passkeys.domain import Asserted, Attested, Passkey
from docuchat_auth.users.domain import User
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.passkeys")


class PasskeyRepository:
    """The passkeys of users of the transaction's tenant."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def list_of(self, user: User) -> list[Passkey]:
        rows = _queries.list_passkeys(self._connection, tenant_id=user.tenant_id, user_id=user.id)
        return [_passkey(row) async for row in rows]

    async def count(self, user: User) -> int:
        found: int = await _queries.count_passkeys(self._connection, tenant_id=user.tenant_id, user_id=user.id)
        return found

    async def find_home(self, credential_id: bytes) -> TenantId | None:
        """System transactions only: the tenant of whose user a credential is."""
        found: TenantId | None = await _queries.find_home(self._connection, credential_id=credential_id)
        return found

    async def find(self, tenant_id: TenantId, credential_id: bytes) -> Passkey | None:
        row = await _queries.find_passkey(self._connection, tenant_id=tenant_id, credential_id=credential_id)
        return None if row is None else _passkey(row)

    async def add(self, passkey: Passkey) -> bool:
        """False when the credential is registered already."""
        return bool(
            await _queries.add_passkey(
                self._connection,
                tenant_id=passkey.tenant_id,
                passkey_id=passkey.id,
                user_id=passkey.user_id,
                name=passkey.name,
                credential_id=passkey.attested.credential_id,
                public_key=passkey.attested.public_key,
                sign_count=passkey.attested.sign_count,
                is_backed_up=passkey.attested.is_backed_up,
                moment=passkey.created_at,
            )
        )

    async def use(self, passkey: Passkey, shown: Asserted, moment: datetime) -> bool:
        """Note a use; False when the authenticator's count is none that comes next."""
        return bool(
            await _queries.use_passkey(
                self._connection,
                tenant_id=passkey.tenant_id,
                passkey_id=passkey.id,
                sign_count=shown.sign_count,
                is_backed_up=shown.is_backed_up,
                moment=moment,
            )
        )

    async def delete(self, user: User, passkey_id: UUID) -> bool:
        return bool(
            await _queries.delete_passkey(
                self._connection, tenant_id=user.tenant_id, user_id=user.id, passkey_id=passkey_id
            )
        )

    async def forget(self, user: User) -> None:
        """Forget all of a user's."""
        await _queries.forget_passkeys(self._connection, tenant_id=user.tenant_id, user_id=user.id)


def _passkey(row: asyncpg.Record) -> Passkey:
    return Passkey(
        tenant_id=TenantId(row["tenant_id"]),
        id=row["id"],
        user_id=UserId(row["user_id"]),
        name=row["name"],
        attested=Attested(row["credential_id"], row["public_key"], row["sign_count"], row["is_backed_up"]),
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
    )
