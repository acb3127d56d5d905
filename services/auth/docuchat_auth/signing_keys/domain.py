"""A signing key, and which of several signs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class SigningAlgorithm(StrEnum):
    """JOSE names of the only two algorithms that tokens are signed with (RFC 8725 §3.2)."""

    EDDSA = "EdDSA"
    ES256 = "ES256"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair. It signs from `not_before` until `retired_at` and is published until its last token has expired."""

    kid: str
    algorithm: SigningAlgorithm
    public_jwk: Mapping[str, str]
    sealed_private_key: bytes
    created_at: datetime
    not_before: datetime
    retired_at: datetime | None

    def signs_at(self, moment: datetime) -> bool:
        """Whether new tokens may be signed with it."""
        return self.not_before <= moment and (self.retired_at is None or moment < self.retired_at)

    def is_published_at(self, moment: datetime, token_lifetime: timedelta) -> bool:
        """Whether verifiers must still find it: before its first token and until its last one has expired."""
        return self.retired_at is None or moment < self.retired_at + token_lifetime


def key_to_sign_with(keys: Iterable[SigningKey], moment: datetime) -> SigningKey | None:
    """The youngest key that signs now."""
    return max((key for key in keys if key.signs_at(moment)), key=lambda key: (key.not_before, key.kid), default=None)
