"""Deliver codes off the request's path."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter

from docuchat_auth.codes.domain import Account, CodeRequest, Purpose
from docuchat_auth.codes.ports import CodeMailer
from docuchat_auth.tenants.domain import ANY_TENANT

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_EVERYWHERE = "your organization"

_deliveries = Counter("docuchat_auth_codes", "Sign-in codes by what became of their delivery.", ["outcome"])


class CodeDelivery:
    """Brings a code to its owner, when the address is one that may sign in."""

    def __init__(self, uow: UnitOfWork[Tx], mailer: CodeMailer, code_lifetime: timedelta) -> None:
        self._uow = uow
        self._mailer = mailer
        self._code_lifetime = code_lifetime

    async def deliver(self, request: CodeRequest) -> None:
        """Send the mail, or nothing to a stranger of a tenant that takes none. Raises MailRefused."""
        account = request.account
        name = await self._find_name(account)
        if name is None:
            _deliveries.labels("withheld").inc()
            logger.info("auth.code_withheld", tenant_id=account.tenant_id)
            return
        await self._mailer.send_code(request, name, self._code_lifetime)
        _deliveries.labels("sent").inc()

    async def _find_name(self, account: Account) -> str | None:
        """What the code opens; None when it opens nothing to the person."""
        if account.tenant_id == ANY_TENANT:
            async with self._uow.system() as tx:
                return _EVERYWHERE if await tx.users.find_homes(account.email) else None
        async with self._uow(account.tenant_id) as tx:
            tenant = await tx.tenants.find_by_id(account.tenant_id)
            user = await tx.users.find_by_email(account.tenant_id, account.email)
        if tenant is None:
            return None
        if account.purpose is Purpose.VERIFY:  # whoever registers has been admitted already
            return tenant.name
        if user is not None:
            return tenant.name if user.is_active else None
        may_join = account.purpose is Purpose.SIGN_IN and tenant.admits(account.email)
        return tenant.name if may_join else None
