"""Secrets of authenticator apps (RFC 6238: SHA-1, six digits, 30 seconds), as every app has them."""

import hmac
from datetime import datetime
from typing import Final

import pyotp

from docuchat_auth.users.domain import User
from docuchat_common.sealing import Seal

_STEP_SECONDS: Final = 30
_WINDOW: Final = (-1, 0, 1)
"""Clocks of telephones may be off by a step (RFC 6238 §5.2)."""


def new_secret() -> str:
    """160 random bits in base32, as apps want them (RFC 4226 §4)."""
    return pyotp.random_base32()


def uri_of(secret: str, account: str, issuer: str) -> str:
    """What an app reads from a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def matching_step(secret: str, digits: str, moment: datetime) -> int | None:
    """The time step of which these are the digits; None when they are of none near `moment`."""
    totp, now = pyotp.TOTP(secret), int(moment.timestamp()) // _STEP_SECONDS
    steps = [step for step in (now + off for off in _WINDOW) if _is_of(totp, step, digits)]
    return max(steps, default=None)


def _is_of(totp: pyotp.TOTP, step: int, digits: str) -> bool:
    return hmac.compare_digest(totp.generate_otp(step), digits)


class TotpSeal:
    """Under JWT_SECRET, bound to whose secret it is."""

    def __init__(self, secret: str) -> None:
        self._seal = Seal(secret, "totp-seal")

    def close(self, user: User, secret: str) -> bytes:
        """The secret as it is stored."""
        return self._seal.close(secret.encode(), _whose(user))

    def open(self, user: User, sealed: bytes) -> str | None:
        """The secret; None when it was sealed under another JWT_SECRET, or is somebody else's."""
        secret = self._seal.open(sealed, _whose(user))
        return None if secret is None else secret.decode()


def _whose(user: User) -> str:
    return f"{user.tenant_id}|{user.id}"
