"""Secrets of clients, which the provider must be shown and nobody else."""

from uuid import UUID

from docuchat_common.ids import TenantId
from docuchat_common.sealing import Seal


class SealedSecrets:
    """Sealed under JWT_SECRET, each secret bound to its tenant and provider."""

    def __init__(self, secret: str) -> None:
        self._seal = Seal(secret, "identity-provider-secret")

    def close(self, text: str, tenant_id: TenantId, provider_id: UUID) -> bytes:
        """The secret as it is stored."""
        return self._seal.close(text.encode(), _whose(tenant_id, provider_id))

    def open(self, sealed: bytes, tenant_id: TenantId, provider_id: UUID) -> str | None:
        """The secret; None when JWT_SECRET has changed since, or it is another provider's."""
        text = self._seal.open(sealed, _whose(tenant_id, provider_id))
        return None if text is None else text.decode()


def _whose(tenant_id: TenantId, provider_id: UUID) -> str:
    return f"{int(tenant_id)}/{provider_id}"
