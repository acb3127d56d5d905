"""What is refused of holds and budgets, and under which code."""

from __future__ import annotations

from docuchat_common.errors import NotFound


class HoldNotFound(NotFound):
    """There is no open hold with this id."""

    code = "hold_not_found"


class UserUnknown(NotFound):
    """The tenant has no user of this id."""

    code = "user_unknown"


class TenantUnknown(NotFound):
    """The usage service knows no tenant of this id."""

    code = "tenant_unknown"
