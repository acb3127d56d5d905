"""Record what access tokens that are out there do not know, and tell it to who admits them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from docuchat_common.clock import Clock
from docuchat_common.contracts.revisions import RevisionKind, RevisionPage, RevisionState
from docuchat_common.ids import TenantId, UserId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_SHORTEST: Final = timedelta(days=7)
"""Tokens may live that are longer-lived than the present setting has them."""
_SHOWN: Final = 10
"""Subjects in a line of the log."""
_CLOCK_SKEW: Final = timedelta(hours=1)


class Revisions:
    """What changed since tokens were signed. A gateway refuses and disconnects within seconds of the commit."""

    def __init__(self, uow: UnitOfWork[Tx], clock: Clock, token_lifetime: timedelta) -> None:
        self._uow = uow
        self._clock = clock
        self._keep = max(token_lifetime, _SHORTEST) + _CLOCK_SKEW

    async def record(
        self,
        tx: Tx,
        kind: RevisionKind,
        tenant_id: TenantId,
        *subjects: UUID | int,
        state: RevisionState,
        version: int = 0,
    ) -> None:
        """Take effect with the caller's transaction, of the same tenant or the system.

        A user: `changed` with the new version (`outdate` of the users' slice does both). A session or key: `ended`. A
        key whose rights or addresses changed: `changed`. A chatbot: `ended`, or for its visitors `changed` with the new
        version. A tenant: `suspended`, `deleting`, `active`, and `deleted`.
        """
        await self._record(tx, kind, tenant_id, {str(subject): version for subject in subjects}, state)

    async def record_users(self, tx: Tx, tenant_id: TenantId, versions: Mapping[UserId, int]) -> None:
        """As `record`, for users of whom each has come to a version of their own."""
        await self._record(tx, "user", tenant_id, {str(one): version for one, version in versions.items()}, "changed")

    async def _record(
        self, tx: Tx, kind: RevisionKind, tenant_id: TenantId, versions: Mapping[str, int], state: RevisionState
    ) -> None:
        if not versions:
            return
        moment = self._clock.now()
        expires_at = None if state in {"suspended", "deleting"} else moment + self._keep
        await tx.revisions.record(tenant_id, kind, versions, state=state, moment=moment, expires_at=expires_at)
        shown = list(versions)[:_SHOWN]
        logger.info("revision.recorded", tenant_id=tenant_id, kind=kind, subjects=shown, state=state)

    async def list_after(self, after: str | None, page: str | None = None, limit: int | None = None) -> RevisionPage:
        """What became visible since `after`, of all tenants; `limit` of them, from a `page` that was told before on."""
        async with self._uow.system() as tx:
            found = None if after is None else await tx.revisions.list_after(after, page, limit)
            return found or await tx.revisions.list_all(page, limit)

    async def forget_expired(self) -> int:
        """Delete what no live token can contradict; returns how many."""
        async with self._uow.system() as tx:
            return await tx.revisions.delete_expired(self._clock.now())
