"""Invitations in Postgres: rows in, domain objects out."""

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from docuchat_auth.invitations.domain import Invitation
from docuchat_auth.users.domain import Email
from docuchat_common.contracts.permissions import Role
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId

_queries: Any = load_queries("docuchat_auth.invitations")


class InvitationRepository:
    """The invitations of the transaction's tenant, by the SHA-256 of the token."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def put(self, invitation: Invitation, token_hash: bytes) -> Invitation:
        """Keep it in place of an older one of its address, whose id it gets."""
        row = await _queries.put_invitation(
            self._connection,
            tenant_id=invitation.tenant_id,
            invitation_id=invitation.id,
            email=invitation.email,
            role=invitation.role.value,
            token_hash=token_hash,
            invited_by=invitation.invited_by,
            moment=invitation.created_at,
            expires_at=invitation.expires_at,
        )
        return _invitation(row)

    async def renew(self, invitation: Invitation, token_hash: bytes) -> Invitation | None:
        """Give it another token and time; None when it is gone."""
        row = await _queries.renew_invitation(
            self._connection,
            tenant_id=invitation.tenant_id,
            invitation_id=invitation.id,
            token_hash=token_hash,
            invited_by=invitation.invited_by,
            moment=invitation.created_at,
            expires_at=invitation.expires_at,
        )
        return None if row is None else _invitation(row)

    async def void(self, tenant_id: TenantId, invited_by: UUID, *, all_roles: bool) -> int:
        """Take back what somebody offered: all, or the role of an owner only; returns how many."""
        voided = await _queries.void_invitations(
            self._connection, tenant_id=tenant_id, invited_by=invited_by, all_roles=all_roles
        )
        return int(voided)

    async def delete_of(self, tenant_id: TenantId, email: Email) -> int:
        """Forget what was offered to an address; returns how many."""
        return int(await _queries.delete_invitations_of(self._connection, tenant_id=tenant_id, email=email))

    async def find(self, tenant_id: TenantId, invitation_id: UUID) -> Invitation | None:
        row = await _queries.find_invitation(self._connection, tenant_id=tenant_id, invitation_id=invitation_id)
        return None if row is None else _invitation(row)

    async def find_live(self, tenant_id: TenantId, token_hash: bytes, moment: datetime) -> Invitation | None:
        row = await _queries.find_live_invitation(
            self._connection, tenant_id=tenant_id, token_hash=token_hash, moment=moment
        )
        return None if row is None else _invitation(row)

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[Invitation]:
        rows = _queries.list_invitations_after(self._connection, tenant_id=tenant_id, after=after, max_rows=limit)
        return [_invitation(row) async for row in rows]

    async def take(self, tenant_id: TenantId, token_hash: bytes, moment: datetime) -> Invitation | None:
        """Spend a live one; None when somebody else did, or it ended."""
        row = await _queries.take_invitation(
            self._connection, tenant_id=tenant_id, token_hash=token_hash, moment=moment
        )
        return None if row is None else _invitation(row)

    async def delete_expired(self, before: datetime) -> int:
        """Of any tenant; returns how many."""
        return int(await _queries.delete_expired_invitations(self._connection, before=before))

    async def delete(self, tenant_id: TenantId, invitation_id: UUID) -> bool:
        return bool(
            await _queries.delete_invitation(self._connection, tenant_id=tenant_id, invitation_id=invitation_id)
        )


def _invitation(row: asyncpg.Record) -> Invitation:
    return Invitation(
        tenant_id=TenantId(row["tenant_id"]),
        id=row["id"],
        email=Email(row["email"]),
        role=Role(row["role"]),
        invited_by=row["invited_by"],
        created_at=row["created_at"],
        expires_at=row["expires_at"],
    )
