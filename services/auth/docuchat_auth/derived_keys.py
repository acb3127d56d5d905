"""Keys derived from JWT_SECRET.

JWT_SECRET itself signs nothing. HKDF (RFC 5869) makes a key of its own for each purpose, so that none can stand in for
another.
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def derive_key(secret: str, purpose: str) -> bytes:
    """A 256-bit key for one purpose."""
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"docuchat.auth/" + purpose.encode()).derive(
        secret.encode()
    )
