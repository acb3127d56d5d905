"""Credentials of programs, `<kind>_<id>_<secret>`: shown once, stored hashed."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from docuchat_common.ids import uuid7

CredentialKind = Literal["dco", "dck"]
"""An operator's credential, or an API key."""


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential: what it names, its text, and what is stored of it."""

    id: UUID
    text: str = field(repr=False)
    secret_hash: bytes = field(repr=False)


def new_credential(kind: CredentialKind, credential_id: UUID | None = None) -> Credential:
    """A credential with a secret of 256 random bits, and a new id unless one is given."""
    return _credential(kind, (credential_id or uuid7()).hex, secrets.token_hex(32))


def parse_credential(kind: CredentialKind, text: str) -> Credential | None:
    """The credential in `text`; None when it is none of this kind."""
    match = re.fullmatch(rf"{kind}_([0-9a-f]{{32}})_([0-9a-f]{{64}})", text.strip(), re.ASCII)
    return None if match is None else _credential(kind, match[1], match[2])


def _credential(kind: CredentialKind, credential_id: str, secret: str) -> Credential:
    # 256 random bits need no salt and no slow hash
    return Credential(UUID(credential_id), f"{kind}_{credential_id}_{secret}", hashlib.sha256(secret.encode()).digest())
