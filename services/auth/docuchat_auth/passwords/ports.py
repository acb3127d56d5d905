"""What signing in asks of those who know more about an account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from docuchat_auth.users.domain import User

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx


class SecondFactor(Protocol):
    """Decides, once a password was right, whether that is enough."""

    async def require(self, tx: Tx, user: User, otp: str | None) -> None:
        """Raise OtpRequired when the account needs a second factor and `otp` is none."""
        ...


class NoSecondFactor:
    """No account has one."""

    async def require(self, tx: Tx, user: User, otp: str | None) -> None:
        """A password is enough."""
