"""Limits, set in the database as an operator sets them over HTTP."""

from uuid import UUID

import asyncpg

from docuchat_testkit.eventually import eventually

_SET = """
    SELECT usage.set_limits_v1(
        $1, $2, $3, ARRAY[$5::text], ARRAY[$4::numeric],
        date_trunc('month', now(), 'UTC'), date_trunc('month', now(), 'UTC') + interval '1 month',
        ARRAY[50, 80, 95, 100]::smallint[])
"""


async def set_token_quota(
    admin_url: str, tenant_id: int, tokens: int, user_id: UUID | None = None, *, unit: str = "tokens"
) -> None:
    """Limit the tokens, or another unit, that a tenant or one of its users may use in a month.

    Usage hears of a tenant by an event.
    """
    subject = ("tenant", str(tenant_id)) if user_id is None else ("user", str(user_id))
    connection = await asyncpg.connect(admin_url)
    try:
        await eventually(lambda: connection.fetchval(_SET, tenant_id, *subject, tokens, unit), timeout=30)
    finally:
        await connection.close()
