"""Keys derived from JWT_SECRET, and what is sealed under them.

JWT_SECRET itself signs nothing. HKDF (RFC 5869) makes a key of its own for each purpose, so that none can stand in for
another.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_NONCE_BYTES: Final = 12


def derive_key(secret: str, purpose: str) -> bytes:
    """A 256-bit key for one purpose."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"docuchat.auth/" + purpose.encode()).derive(
        secret.encode()
    )


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
