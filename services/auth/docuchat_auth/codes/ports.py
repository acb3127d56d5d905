"""What signing in needs from the world."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from docuchat_auth.codes.domain import Account, CodeRequest, Redemption


class CodeStore(Protocol):
    """Holds at most one live code an account, as a keyed digest."""

    async def put(self, account: Account, code: str, *, lifetime: timedelta, guesses: int) -> None:
        """Replace the account's live code. Raises UpstreamUnavailable."""
        ...

    async def redeem(self, account: Account, code: str) -> Redemption:
        """Take one guess, atomically: the right one removes the code, a wrong one costs a guess."""
        ...


@dataclass(frozen=True, slots=True)
class AttemptLimit:
    """A named budget of attempts, written as the `limits` library reads it: `5/15minutes;20/day`."""

    name: str
    rate: str


class AttemptLimiter(Protocol):
    """Counts attempts in windows that all processes share."""

    async def hit(self, limit: AttemptLimit, subject: str) -> None:
        """Count one attempt of a subject. Raises TooManyAttempts with the time to wait, or UpstreamUnavailable."""
        ...


class CodeMailer(Protocol):
    """Brings a code to its owner."""

    async def send_code(self, request: CodeRequest, tenant_name: str, lifetime: timedelta) -> None:
        """Raises MailRefused when every try failed."""
        ...
