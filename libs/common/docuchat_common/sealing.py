"""Keys derived from a secret of the installation, and what is sealed under them.

The secret itself (JWT_SECRET in auth, INTERNAL_TOKEN elsewhere) signs and seals nothing. HKDF (RFC 5869) makes a key of
its own for each purpose, so that none can stand in for another.
"""

import hmac
import os
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from docuchat_common.idempotency import IdempotencyKeyReused, StoredResponse

_NONCE_BYTES: Final = 12
_LABEL: Final = b"docuchat.auth/"
"""Part of every key; another label would open nothing of what earlier releases have sealed."""


def derive_key(secret: str, purpose: str) -> bytes:
    """A 256-bit key for one purpose."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=_LABEL + purpose.encode()).derive(secret.encode())


class Seal:
    """AES-256-GCM under a key of its own. What it closes is a random nonce, then the ciphertext with its tag."""

    def __init__(self, secret: str, purpose: str) -> None:
        self._cipher = AESGCM(derive_key(secret, purpose))

    def close(self, plain: bytes, bound_to: str = "") -> bytes:
        """What may be stored. It opens for the same `bound_to` only, as whose it is."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, bound_to.encode())

    def open(self, sealed: bytes, bound_to: str = "") -> bytes | None:
        """What was closed; None when that was under another secret, or it is bound to something else."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], bound_to.encode())
        except InvalidTag:
            return None


@dataclass(frozen=True, slots=True)
class SealedAnswers:
    """Answers that hold a secret, kept for a repetition of the request.

    AES-256-GCM under a secret of the installation and the Idempotency-Key, of which only a hash is
    stored beside the answer.
    """

    secret: str = field(repr=False)

    def close(self, answer: StoredResponse, key: str) -> StoredResponse:
        """The answer as it is stored."""
        return replace(answer, body=self._under(key).close(answer.body))

    def open(self, stored: StoredResponse, key: str) -> StoredResponse:
        """The answer as it was sent. Raises IdempotencyKeyReused when the secret has changed since."""
        body = self._under(key).open(stored.body)
        if body is None:
            raise IdempotencyKeyReused("The answer can no longer be told again; use a new key.")
        return replace(stored, body=body)

    def name_of(self, *texts: str) -> UUID:
        """A name for what must not be told: only who has the secret can try what it stands for."""
        key = derive_key(self.secret, "names-beside-answers")
        return UUID(bytes=hmac.digest(key, "\0".join(texts).encode(), "sha256")[:16])

    def _under(self, key: str) -> Seal:
        return Seal(self.secret, f"sealed-answer/{key}")
