"""A sign-in code, whom it is for, and the challenge that binds guesses to the browser that asked."""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
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
    LIMITED = "limited"


class Purpose(StrEnum):
    """What a code is good for, and nothing else."""

    SIGN_IN = "sign-in"
    RESET = "reset"
    """Set a new password."""
    VERIFY = "verify"
    """Prove an address that somebody registers with."""


@dataclass(frozen=True, slots=True)
class Account:
    """The thing that a code opens; it may exist before its user does."""

    tenant_id: TenantId
    """ANY_TENANT: of whichever the person is found in."""
    email: Email
    purpose: Purpose = Purpose.SIGN_IN


@dataclass(frozen=True, slots=True)
class GuessBudget:
    """How often codes may be guessed wrong.

    Guesses that show the challenge and guesses that do not have shares of their own, of each code and of each hour, so
    that somebody who knows an address only cannot use up what its owner has.
    """

    guesses: int
    """Of one code."""
    failures: int
    """Of one account in an hour."""

    @property
    def bare_guesses(self) -> int:
        """Guesses at one code without its challenge."""
        return self.guesses // 2

    @property
    def bound_guesses(self) -> int:
        """Guesses at one code with its challenge."""
        return self.guesses - self.bare_guesses

    @property
    def known_failures(self) -> int:
        """Of browsers that have signed in to the account before."""
        return self.failures // 5

    @property
    def bare_failures(self) -> int:
        """Of guesses without a challenge."""
        return self.failures * 2 // 5

    @property
    def stranger_failures(self) -> int:
        """Of guesses with a challenge by browsers that have not signed in before."""
        return self.failures - self.known_failures - self.bare_failures

    @property
    def network_failures(self) -> int:
        """As `stranger_failures`, of a single network."""
        return self.stranger_failures * 5 // 8


@dataclass(frozen=True, slots=True)
class CodeRequest:
    """A code on its way to its owner. Kept in memory only."""

    account: Account
    code: str = field(repr=False)

    @property
    def tenant_id(self) -> TenantId:
        """Where it signs in."""
        return self.account.tenant_id


@dataclass(frozen=True, slots=True)
class ProvenCode:
    """A code that was right, and is used up by that."""

    account: Account
    """With its tenant."""
    code: str = field(repr=False)
    challenge: str | None = field(repr=False)
    left: timedelta
    """How long it would still be good."""
    browser: str = field(default="", repr=False)
    """As `CodeStore.put`."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The answer to a request for a code."""

    text: str = field(repr=False)
    expires_in: timedelta


def new_code() -> str:
    """Six random digits, leading zeros included."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def new_challenge() -> str:
    """A name for one request for a code that only the browser that asked knows."""
    return secrets.token_urlsafe(24)


def challenge_name(challenge: str) -> str:
    """What is stored of a challenge."""
    return hashlib.sha256(challenge.encode()).hexdigest()[:32]
