"""What the usage service refuses, and under which stable code."""

from __future__ import annotations

from docuchat_common.errors import Conflict, InvalidInput, NotFound, QuotaExceeded, UpstreamUnavailable


class BudgetExhausted(QuotaExceeded):
    """The budget for this period does not allow this request."""

    code = "quota_exceeded"


class HoldNotFound(NotFound):
    """There is no open hold with this id."""

    code = "hold_not_found"


class PriceExists(Conflict):
    """This model has a price from this moment already; a price is never changed, a later one replaces it."""

    code = "price_exists"


class PriceInvalid(InvalidInput):
    """A price must be zero or more, with at most six decimal places."""

    code = "price_invalid"


class UsageInvalid(InvalidInput):
    """A usage event reports an impossible amount."""

    code = "usage_invalid"


class BudgetsUnsettled(UpstreamUnavailable):
    """The budgets of this tenant kept changing while they were read."""

    code = "budgets_unsettled"
