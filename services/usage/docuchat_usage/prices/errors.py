"""What is refused of a price, and under which code."""

from __future__ import annotations

from docuchat_common.errors import Conflict, InvalidInput


class PriceExists(Conflict):
    """This model has a price from this moment already; a price is never changed, a later one replaces it."""

    code = "price_exists"


class PriceInvalid(InvalidInput):
    """A price must be zero or more, with at most six decimal places."""

    code = "price_invalid"
