"""What signing in by a provider needs from the world."""

from typing import Protocol

from docuchat_auth.federated_logins.domain import Person, ProviderMetadata
from docuchat_auth.identity_providers.domain import IdentityProvider


class OpenIdProviders(Protocol):
    """Speaks OpenID Connect. What does not answer or answers nonsense raises IdentityProviderUnavailable."""

    async def discover(self, provider: IdentityProvider) -> ProviderMetadata:
        """What the provider tells of itself."""
        ...

    async def redeem(
        self, provider: IdentityProvider, code: str, *, redirect_uri: str, verifier: str, nonce: str
    ) -> Person:
        """Who somebody is, for a code. Raises ProviderAnswerInvalid."""
        ...
