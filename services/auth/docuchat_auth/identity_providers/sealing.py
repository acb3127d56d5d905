"""Secrets of clients, which the provider must be shown and nobody else."""

import os
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from docuchat_auth.derived_keys import derive_key
from docuchat_common.ids import TenantId

_NONCE_BYTES: Final = 12


class SealedSecrets:
    """AES-256-GCM under JWT_SECRET, each secret bound to its tenant and provider."""

    def __init__(self, secret: str) -> None:
        self._seal = AESGCM(derive_key(secret, "identity-provider-secret"))

    def close(self, text: str, tenant_id: TenantId, provider_id: UUID) -> bytes:
        """The secret as it is stored."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, text.encode(), _bound_to(tenant_id, provider_id))

    def open(self, sealed: bytes, tenant_id: TenantId, provider_id: UUID) -> str | None:
        """The secret; None when JWT_SECRET has changed since, or it is another provider's."""
        try:
            text = self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound_to(tenant_id, provider_id))
        except InvalidTag:
            return None
        return text.decode()


def _bound_to(tenant_id: TenantId, provider_id: UUID) -> bytes:
    return f"{int(tenant_id)}/{provider_id}".encode()
