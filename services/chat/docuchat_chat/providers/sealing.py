"""Keys of providers, which the provider is shown and nobody else."""

from __future__ import annotations

from docuchat_chat.providers.domain import ProviderId
from docuchat_common.ids import TenantId
from docuchat_common.sealing import Seal


class SealedKeys:
    """Sealed under INTERNAL_TOKEN, each key bound to its owner and provider."""

    def __init__(self, secret: str) -> None:
        self._seal = Seal(secret, "provider-key")

    def close(self, key: str, owner: TenantId | None, provider_id: ProviderId) -> bytes:
        """Return the key as it is stored."""
        return self._seal.close(key.encode(), _whose(owner, provider_id))

    def open(self, sealed: bytes, owner: TenantId | None, provider_id: ProviderId) -> str | None:
        """Return the key; None when INTERNAL_TOKEN has changed since, or it is another provider's."""
        key = self._seal.open(sealed, _whose(owner, provider_id))
        return None if key is None else key.decode()


def _whose(owner: TenantId | None, provider_id: ProviderId) -> str:
    return f"{'platform' if owner is None else int(owner)}/{provider_id}"
