"""Answers that hold a secret, kept for a repetition of the request."""

import hmac
import os
from dataclasses import dataclass, field, replace
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from docuchat_auth.derived_keys import derive_key
from docuchat_common.idempotency import IdempotencyKeyReused, StoredResponse

_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class SealedAnswers:
    """AES-256-GCM under JWT_SECRET and the Idempotency-Key, of which only a hash is stored beside the answer."""

    secret: str = field(repr=False)

    def close(self, answer: StoredResponse, key: str) -> StoredResponse:
        """The answer as it is stored."""
        nonce = os.urandom(_NONCE_BYTES)
        return replace(answer, body=nonce + self._cipher(key).encrypt(nonce, answer.body, None))

    def open(self, stored: StoredResponse, key: str) -> StoredResponse:
        """The answer as it was sent. Raises IdempotencyKeyReused when JWT_SECRET has changed since."""
        try:
            body = self._cipher(key).decrypt(stored.body[:_NONCE_BYTES], stored.body[_NONCE_BYTES:], None)
        except InvalidTag as error:
            raise IdempotencyKeyReused("The answer can no longer be told again; use a new key.") from error
        return replace(stored, body=body)

    def name_of(self, *texts: str) -> UUID:
        """A name for what must not be told: only who has JWT_SECRET can try what it stands for."""
        key = derive_key(self.secret, "names-beside-answers")
        return UUID(bytes=hmac.digest(key, "\0".join(texts).encode(), "sha256")[:16])

    def _cipher(self, key: str) -> AESGCM:
        return AESGCM(derive_key(self.secret, f"sealed-answer/{key}"))
