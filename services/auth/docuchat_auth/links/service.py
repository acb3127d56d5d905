"""See and cut the links by which identity providers let somebody in."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from docuchat_auth.federated_logins.domain import LinkedIdentity
from docuchat_auth.links.errors import LinkedIdentityNotFound
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.members.service import owns
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.users.domain import User
from docuchat_auth.users.errors import UserGone, UserNotFound
from docuchat_auth.users.service import require_still
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.caller import Caller
from docuchat_common.http.sign_ins import require_recent
from docuchat_common.ids import UserId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


class Links:
    """One's own links, and for who manages users those of others."""

    def __init__(self, uow: UnitOfWork[Tx], sessions: Sessions, clock: Clock) -> None:
        self._uow = uow
        self._sessions = sessions
        self._clock = clock

    async def list_of(self, caller: Caller, user_id: UserId | None) -> list[LinkedIdentity]:
        """Those of somebody, None for one's own; the oldest first. Raises UserNotFound, UserGone."""
        async with self._uow(caller.tenant_id) as tx:
            user = await _find(tx, caller, user_id)
            return await tx.federated_identities.list_of(user.tenant_id, user.id)

    async def cut(self, caller: Caller, user_id: UserId | None, provider_id: UUID) -> None:
        """Cut one and end the user's sessions, but that of who asks.

        Raises LinkedIdentityNotFound, RecentSignInRequired, UserNotFound, UserGone, OwnersOnly.
        """
        require_recent(caller, self._clock.now())
        async with self._uow(caller.tenant_id) as tx:
            if user_id is not None:
                await require_still(tx, caller, "users.manage", user_id)
            user = await _find(tx, caller, user_id)
            if user.role is Role.OWNER and user.id != caller.user_id and not await owns(tx, caller):
                raise OwnersOnly
            await tx.users.lock(user.tenant_id, user.id)
            if not await tx.federated_identities.unlink(user.tenant_id, user.id, provider_id):
                raise LinkedIdentityNotFound
            await self._sessions.end_all(tx, user, keep=caller.session_id if user.id == caller.user_id else None)
            tx.outbox.add(entry(caller, "user.unlink", user.id, detail=f"identity provider {provider_id}"))
        logger.info("user.unlinked", tenant_id=user.tenant_id, user_id=str(user.id), provider_id=str(provider_id))


async def _find(tx: Tx, caller: Caller, user_id: UserId | None) -> User:
    wanted = user_id or caller.user_id
    user = None if wanted is None else await tx.users.find_by_id(caller.tenant_id, wanted)
    if user is None:
        raise UserGone if user_id is None else UserNotFound
    return user
