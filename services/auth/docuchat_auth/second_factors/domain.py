"""What a user has beside the first proof, and recovery codes."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

from docuchat_auth.users.domain import User

RECOVERY_CODES: Final = 10
_RECOVERY_BYTES: Final = 10
_RECOVERY_CODE: Final = re.compile(r"[a-z2-7]{16}")
_SIX_DIGITS: Final = re.compile(r"[0-9]{6}", re.ASCII)
_GAPS: Final = re.compile(r"[\s-]+")


@dataclass(frozen=True, slots=True)
class Factors:
    """What a user has, and what the tenant wants."""

    has_totp: bool
    passkeys: int
    recovery_codes: int
    """Those that are left."""
    is_required: bool
    """Whether the tenant demands a second factor."""

    @property
    def has_any(self) -> bool:
        """Whether there is a second factor; recovery codes alone are none."""
        return self.has_totp or self.passkeys > 0

    @property
    def are_asked_for(self) -> bool:
        """Whether one proof is not enough to sign in.

        A passkey alone is a convenience, beside which a password stays enough, unless the tenant demands two factors.
        """
        return self.has_totp or (self.is_required and self.has_any)

    @property
    def methods(self) -> list[str]:
        """What can be shown as a second factor."""
        there = {"totp": self.has_totp, "recovery_code": self.recovery_codes > 0, "passkey": self.passkeys > 0}
        return [name for name, is_there in there.items() if is_there]


@dataclass(frozen=True, slots=True)
class TotpEnrolment:
    """A secret for an authenticator app, shown once."""

    secret: str = field(repr=False)
    uri: str = field(repr=False)


def is_totp(otp: str) -> bool:
    """Whether this is what an authenticator app shows; anything else may be a recovery code."""
    return _SIX_DIGITS.fullmatch(_without_gaps(otp)) is not None


def totp_digits(otp: str) -> str:
    """The six digits, however they were typed."""
    return _without_gaps(otp)


def new_recovery_code() -> str:
    """80 random bits in four groups, without digits that look like letters."""
    text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode().lower()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def hash_recovery_code(user: User, code: str) -> bytes | None:
    """What is stored of a user's recovery code, None for what is none.

    No key is in it: it stays good when JWT_SECRET changes, and with it the way in for who then has no other.
    """
    text = _without_gaps(code).lower()
    if not _RECOVERY_CODE.fullmatch(text):
        return None
    return hashlib.sha256(f"{user.tenant_id}|{user.id}|{text}".encode()).digest()


def _without_gaps(text: str) -> str:
    return _GAPS.sub("", text)
