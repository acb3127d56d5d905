"""What somebody says who registers."""

import re
import secrets
import unicodedata
from dataclasses import dataclass, field

from docuchat_auth.codes.domain import Challenge
from docuchat_auth.logins.domain import SignedIn
from docuchat_auth.users.domain import Email, Username


@dataclass(frozen=True, slots=True)
class Application:
    """Who wants to become a user; an address, a user name, or both."""

    email: Email | None
    username: Username | None
    name: str | None
    password: str = field(repr=False)
    organization: str | None = None
    """A tenant of one's own."""
    code: str | None = field(default=None, repr=False)
    challenge: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Registered:
    """A new user, who is signed in; and the challenge of a code that went to the address, if one did."""

    entry: SignedIn
    verification: Challenge | None


def new_slug(organization: str) -> str:
    """A slug that tells nothing about others: whether one is taken would."""
    plain = unicodedata.normalize("NFKD", organization).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    return f"{words or 'tenant'}-{secrets.token_hex(4)}"
