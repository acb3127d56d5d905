"""Written by scripts/write_blocking.py from tenancy.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.identity import Domain, IdentityProvider, TenantSettings
from docuchat_client.usage_models import Usage


class BlockingTenancy(Blocking):
    """The part of a client that is about the tenant."""

    _client: AsyncDocuChat

    def tenant_settings(self) -> TenantSettings:
        """The own tenant."""
        return self._loop.run(self._client.tenant_settings())

    def change_tenant(
        self,
        *,
        name: str | None = None,
        signup: str | None = None,
        domains: Sequence[str] | None = None,
        retention: dict[str, int | None] | None = None,
        require_second_factor: bool | None = None,
    ) -> TenantSettings:
        """Change what is given; `retention` has `chats_days` and `documents_days`, None is for ever.

        To keep less is an owner's, needs a sign-in of the last 15 minutes, and begins at `retention_changes_at`.
        """
        return self._loop.run(
            self._client.change_tenant(
                name=name,
                signup=signup,
                domains=domains,
                retention=retention,
                require_second_factor=require_second_factor,
            )
        )

    def delete_tenant(self, slug: str) -> TenantSettings:
        """Have all of the tenant erased at `deletes_at`; its slug is said so that none is deleted by mistake."""
        return self._loop.run(self._client.delete_tenant(slug))

    def restore_tenant(self) -> TenantSettings:
        """Take the deletion back."""
        return self._loop.run(self._client.restore_tenant())

    def domains(self) -> Iterator[Domain]:
        """Every domain of mail that the tenant has proven, or is to prove."""
        return self._loop.iterate(self._client.domains())

    def find_domain(self, reference: UUID | str) -> Domain:
        """The domain of this name or id. Raises NotFound."""
        return self._loop.run(self._client.find_domain(reference))

    def add_domain(self, domain: str, *, idempotency_key: str | None = None) -> Domain:
        """A domain to prove: publish its `record`, then `verify_domain`."""
        return self._loop.run(self._client.add_domain(domain, idempotency_key=idempotency_key))

    def verify_domain(self, domain_id: UUID | str) -> Domain:
        """Look for the record; what is proven stays."""
        return self._loop.run(self._client.verify_domain(domain_id))

    def delete_domain(self, domain_id: UUID | str) -> None:
        """Give a domain up."""
        self._loop.run(self._client.delete_domain(domain_id))

    def identity_providers(self) -> Iterator[IdentityProvider]:
        """Every identity provider of the tenant."""
        return self._loop.iterate(self._client.identity_providers())

    def identity_provider(self, provider_id: UUID | str) -> IdentityProvider:
        """One identity provider."""
        return self._loop.run(self._client.identity_provider(provider_id))

    def find_identity_provider(self, reference: UUID | str) -> IdentityProvider:
        """The provider of this name or id. Raises NotFound."""
        return self._loop.run(self._client.find_identity_provider(reference))

    def add_identity_provider(
        self,
        name: str,
        issuer: str,
        client_id: str,
        more: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> IdentityProvider:
        """Register its `redirect_uri` at the provider; `more` are fields of POST /v1/identity-providers."""
        return self._loop.run(
            self._client.add_identity_provider(name, issuer, client_id, more, idempotency_key=idempotency_key)
        )

    def change_identity_provider(self, provider_id: UUID | str, fields: Mapping[str, Any]) -> IdentityProvider:
        """What is left out stays."""
        return self._loop.run(self._client.change_identity_provider(provider_id, fields))

    def remove_identity_provider(self, provider_id: UUID | str) -> None:
        """People sign in by it no more; their accounts stay."""
        self._loop.run(self._client.remove_identity_provider(provider_id))

    def usage(self) -> Usage:
        """Tokens, cost and what is left of the quota."""
        return self._loop.run(self._client.usage())
