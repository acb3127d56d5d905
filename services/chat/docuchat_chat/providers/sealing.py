"""Keys of providers, which the provider is shown and nobody else."""

from __future__ import annotations

from docuchat_chat.providers.domain import ProviderId
from docuchat_common.ids import TenantId
from docuchat_common.sealing import Seal


class SealedKeys:
    """Sealed under INTERNAL_TOKEN, each key bound to its owner and provider."""

    def __init__(self, secret: str, before: str | None = None) -> None:
        """`before`: the secret of which this one took the place; what is sealed under it opens still."""
        self._seal = Seal(secret, "provider-key")
        self._before = None if before is None else Seal(before, "provider-key")

    def close(self, key: str, owner: TenantId | None, provider_id: ProviderId) -> bytes:
        """Return the key as it is stored."""
        return self._seal.close(key.encode(), _whose(owner, provider_id))

    def open(self, sealed: bytes, owner: TenantId | None, provider_id: ProviderId) -> str | None:
        """Return the key; None when it is under no secret that is known, or another provider's."""
        whose = _whose(owner, provider_id)
        key = self._seal.open(sealed, whose)
        if key is None and self._before is not None:
            key = self._before.open(sealed, whose)
        return None if key is None else key.decode()

    def is_new(self, sealed: bytes, owner: TenantId | None, provider_id: ProviderId) -> bool:
        """Tell whether a key is under the secret of today."""
        return self._seal.open(sealed, _whose(owner, provider_id)) is not None


def _whose(owner: TenantId | None, provider_id: ProviderId) -> str:
    return f"{'platform' if owner is None else int(owner)}/{provider_id}"
