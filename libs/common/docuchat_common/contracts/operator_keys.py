"""An operator's credential, `dco_<id>_<secret>`: made by `docuchat_setup`, stored hashed and checked by auth."""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from docuchat_common.ids import uuid7

_SHAPE: Final = re.compile(r"dco_([0-9a-f]{32})_([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class OperatorKey:
    """A credential: its operator, its text, and what is stored of it."""

    id: UUID
    text: str = field(repr=False)
    secret_hash: bytes = field(repr=False)


def new_operator_key() -> OperatorKey:
    """A credential with a new id and a secret of 256 random bits."""
    return _key(uuid7().hex, secrets.token_hex(32))


def parse_operator_key(text: str) -> OperatorKey | None:
    """The credential in `text`; None when it is none."""
    match = _SHAPE.fullmatch(text.strip())
    return None if match is None else _key(match[1], match[2])


def _key(operator_id: str, secret: str) -> OperatorKey:
    # 256 random bits need no salt and no slow hash
    return OperatorKey(UUID(operator_id), f"dco_{operator_id}_{secret}", hashlib.sha256(secret.encode()).digest())
