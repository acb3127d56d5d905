"""What is refused of usage events, and under which code."""

from __future__ import annotations

from docuchat_common.errors import InvalidInput, UpstreamUnavailable


class UsageAbsurd(InvalidInput):
    """A usage event reports more tokens than a call can have; it is not booked."""

    code = "usage_absurd"


class EntryMissing(UpstreamUnavailable):
    """A usage event corrects an entry that is not booked yet; try again when it is."""

    code = "entry_missing"
