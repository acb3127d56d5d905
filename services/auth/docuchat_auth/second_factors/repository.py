"""Second factors in Postgres."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg

from docuchat_auth.users.domain import User
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.second_factors")


class SecondFactorRepository:
    """The second factors of users of the transaction's tenant. Secrets are sealed, recovery codes hashed."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def count(self, user: User) -> tuple[bool, int]:
        """Whether there is an authenticator app, and how many recovery codes are left."""
        row = await _queries.count_factors(self._connection, tenant_id=user.tenant_id, user_id=user.id)
        return row["has_totp"], row["recovery_codes"]

    async def outdate_without(self, tenant_id: TenantId) -> dict[UserId, int]:
        """System transactions only: the next version of each user with a session in which none was shown."""
        rows = _queries.outdate_one_factor(self._connection, tenant_id=tenant_id)
        return {UserId(row["user_id"]): row["user_version"] async for row in rows}

    async def find_totp(self, user: User) -> bytes | None:
        found: bytes | None = await _queries.find_totp(self._connection, tenant_id=user.tenant_id, user_id=user.id)
        return found

    async def use_step(self, user: User, sealed: bytes, step: int) -> bool:
        """Take the code of a time step; False when it or a later one was taken before."""
        return bool(
            await _queries.use_totp_step(
                self._connection, tenant_id=user.tenant_id, user_id=user.id, sealed_secret=sealed, step=step
            )
        )

    async def put_pending(self, user: User, sealed: bytes, moment: datetime) -> None:
        await _queries.put_pending_totp(
            self._connection, tenant_id=user.tenant_id, user_id=user.id, pending_secret=sealed, moment=moment
        )

    async def find_pending(self, user: User, since: datetime) -> bytes | None:
        found: bytes | None = await _queries.find_pending_totp(
            self._connection, tenant_id=user.tenant_id, user_id=user.id, since=since
        )
        return found

    async def confirm(self, user: User, pending: bytes, step: int, moment: datetime) -> bool:
        """Put what was shown in force; False when it is not what was shown last."""
        return bool(
            await _queries.confirm_totp(
                self._connection,
                tenant_id=user.tenant_id,
                user_id=user.id,
                pending_secret=pending,
                step=step,
                moment=moment,
            )
        )

    async def delete_totp(self, user: User) -> bool:
        """False when there is none in force."""
        return bool(await _queries.delete_totp(self._connection, tenant_id=user.tenant_id, user_id=user.id))

    async def take_recovery_code(self, user: User, code_hash: bytes) -> bool:
        """Use a recovery code up; False when it is none of those that are left."""
        return bool(
            await _queries.take_recovery_code(
                self._connection, tenant_id=user.tenant_id, user_id=user.id, code_hash=code_hash
            )
        )

    async def replace_recovery_codes(self, user: User, code_hashes: Sequence[bytes]) -> None:
        """These in place of those before; none voids all."""
        await _queries.delete_recovery_codes(self._connection, tenant_id=user.tenant_id, user_id=user.id)
        await _queries.add_recovery_codes(
            self._connection, tenant_id=user.tenant_id, user_id=user.id, code_hashes=list(code_hashes)
        )

    async def forget(self, user: User) -> None:
        """Forget all of a user's."""
        await _queries.forget_totp(self._connection, tenant_id=user.tenant_id, user_id=user.id)
        await self.replace_recovery_codes(user, ())
