"""Signing keys whose private half is stored sealed."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from docuchat_auth.signing_keys.domain import SigningAlgorithm, SigningKey
from docuchat_auth.signing_keys.errors import KeySealBroken
from docuchat_common.sealing import Seal

ACCESS_TOKEN_TYPE = "at+jwt"  # noqa: S105 - the media type of RFC 9068, not a secret


class SealedKeyForge:
    """Makes Ed25519 and P-256 pairs; the private half is stored sealed, bound to its kid."""

    def __init__(self, secret: str) -> None:
        self._seal = Seal(secret, "signing-key-seal")
        self._opened: dict[str, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey] = {}

    def create(self, algorithm: SigningAlgorithm, *, created_at: datetime, not_before: datetime) -> SigningKey:
        """A new pair. Its kid is the RFC 7638 thumbprint of the public key."""
        private: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey
        if algorithm is SigningAlgorithm.EDDSA:
            private = ed25519.Ed25519PrivateKey.generate()
            members: Mapping[str, object] = OKPAlgorithm.to_jwk(private.public_key(), as_dict=True)
        else:
            private = ec.generate_private_key(ec.SECP256R1())
            members = ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
        public: dict[str, str] = {name: str(members[name]) for name in ("kty", "crv", "x", "y") if name in members}
        kid = _thumbprint(public)
        der = private.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return SigningKey(
            kid=kid,
            algorithm=algorithm,
            public_jwk={**public, "kid": kid, "alg": algorithm.value, "use": "sig"},
            sealed_private_key=self._seal.close(der, kid),
            created_at=created_at,
            not_before=not_before,
            retired_at=None,
        )

    def can_open(self, key: SigningKey) -> bool:
        """Whether the private key was sealed under the present secret."""
        try:
            self._open(key)
        except KeySealBroken:
            return False
        return True

    def sign(self, key: SigningKey, claims: dict[str, object]) -> str:
        """A compact JWS with `kid` and type `at+jwt`. Raises KeySealBroken."""
        headers = {"kid": key.kid, "typ": ACCESS_TOKEN_TYPE}
        return jwt.encode(claims, self._open(key), algorithm=key.algorithm.value, headers=headers)

    def _open(self, key: SigningKey) -> ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey:
        known = self._opened.get(key.kid)
        if known is not None:
            return known
        der = self._seal.open(key.sealed_private_key, key.kid)
        if der is None:
            raise KeySealBroken(key.kid)
        private = serialization.load_der_private_key(der, password=None)
        if not isinstance(private, ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey):
            raise KeySealBroken(key.kid)
        self._opened[key.kid] = private
        return private


def _thumbprint(public: Mapping[str, str]) -> str:
    canonical = json.dumps(dict(sorted(public.items())), separators=(",", ":")).encode()
    return jwt.utils.base64url_encode(hashlib.sha256(canonical).digest()).decode()
