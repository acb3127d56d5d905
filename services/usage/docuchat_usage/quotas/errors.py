"""What is refused of holds and budgets, and under which code."""

from __future__ import annotations

from docuchat_common.errors import NotFound, QuotaExceeded, UpstreamUnavailable


class BudgetExhausted(QuotaExceeded):
    """The budget for this period does not allow this request."""

    code = "quota_exceeded"


class HoldNotFound(NotFound):
    """There is no open hold with this id."""

    code = "hold_not_found"


class BudgetsUnsettled(UpstreamUnavailable):
    """The budgets of this tenant kept changing while they were read."""

    code = "budgets_unsettled"
