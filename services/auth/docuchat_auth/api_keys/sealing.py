"""Answers that hold a secret, kept for a repetition of the request."""

import hmac
from dataclasses import dataclass, field, replace
from uuid import UUID

from docuchat_auth.derived_keys import Seal, derive_key
from docuchat_common.idempotency import IdempotencyKeyReused, StoredResponse


@dataclass(frozen=True, slots=True)
class SealedAnswers:
    """AES-256-GCM under JWT_SECRET and the Idempotency-Key, of which only a hash is stored beside the answer."""

    secret: str = field(repr=False)

    def close(self, answer: StoredResponse, key: str) -> StoredResponse:
        """The answer as it is stored."""
        return replace(answer, body=self._under(key).close(answer.body))

    def open(self, stored: StoredResponse, key: str) -> StoredResponse:
        """The answer as it was sent. Raises IdempotencyKeyReused when JWT_SECRET has changed since."""
        body = self._under(key).open(stored.body)
        if body is None:
            raise IdempotencyKeyReused("The answer can no longer be told again; use a new key.")
        return replace(stored, body=body)

    def name_of(self, *texts: str) -> UUID:
        """A name for what must not be told: only who has JWT_SECRET can try what it stands for."""
        key = derive_key(self.secret, "names-beside-answers")
        return UUID(bytes=hmac.digest(key, "\0".join(texts).encode(), "sha256")[:16])

    def _under(self, key: str) -> Seal:
        return Seal(self.secret, f"sealed-answer/{key}")
