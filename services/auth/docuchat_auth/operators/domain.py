"""An operator."""

from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Operator:
    """Who runs the installation; belongs to no tenant."""

    id: UUID
    name: str
    secret_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class OperatorToken:
    """What a credential is exchanged for."""

    access_token: str = field(repr=False)
    expires_in: timedelta
