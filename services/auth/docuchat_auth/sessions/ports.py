"""What every way of signing in asks of those who know more about an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from docuchat_auth.users.domain import User

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx


class SecondFactor(Protocol):
    """Decides, once somebody has proven to be the user by one thing, whether that is enough."""

    async def require(self, tx: Tx, user: User, otp: str | None) -> str | None:
        """What `otp` was, where the account needs one. Raises OtpRequired, OtpInvalid, TooManyAttempts."""
        ...

    async def is_missing(self, tx: Tx, user: User, *, was_shown: bool) -> bool:
        """Whether the tenant demands a second factor, and the session showed none or the user has none any more."""
        ...
