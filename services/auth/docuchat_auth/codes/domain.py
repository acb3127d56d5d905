"""A sign-in code, and whom it is for."""

import secrets
from dataclasses import dataclass
from enum import StrEnum

from docuchat_auth.users.domain import Email
from docuchat_common.ids import TenantId

CODE_DIGITS = 6


class Redemption(StrEnum):
    """What became of one guess at a sign-in code."""

    ACCEPTED = "accepted"
    WRONG = "wrong"
    EXHAUSTED = "exhausted"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Account:
    """The thing that a code signs in to; it may exist before its user does."""

    tenant_id: TenantId
    email: Email


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """A code on its way to its owner. Kept in memory only."""

    account: Account
    code: str


def new_code() -> str:
    """Six random digits, leading zeros included."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"
