"""The tenant itself: its settings, its end, what it uses, its domains of mail, and its identity providers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from docuchat_client.calls import Calls
from docuchat_client.errors import NotFound
from docuchat_client.identity import Domain, IdentityProvider, TenantSettings
from docuchat_client.models import Page
from docuchat_client.usage_models import Usage

_PROVIDERS: Final = "/v1/identity-providers"


class Tenancy(Calls):
    """The part of a client that is about the tenant."""

    async def tenant_settings(self) -> TenantSettings:
        """The own tenant."""
        return await self._get(TenantSettings, "GET", "/v1/tenant")

    async def change_tenant(
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
        given: dict[str, Any] = {"name": name, "signup": signup, "domains": domains, "retention": retention}
        given["require_second_factor"] = require_second_factor
        body = {key: value for key, value in given.items() if value is not None}
        return await self._get(TenantSettings, "PATCH", "/v1/tenant", json=body, repeatable=True)

    async def delete_tenant(self, slug: str) -> TenantSettings:
        """Have all of the tenant erased at `deletes_at`; its slug is said so that none is deleted by mistake."""
        return await self._get(TenantSettings, "DELETE", "/v1/tenant", params={"confirm": slug})

    async def restore_tenant(self) -> TenantSettings:
        """Take the deletion back."""
        return await self._get(TenantSettings, "POST", "/v1/tenant/restore", repeatable=True)

    def domains(self) -> AsyncIterator[Domain]:
        """Every domain of mail that the tenant has proven, or is to prove."""
        return self._every(Page[Domain], "/v1/domains")

    async def find_domain(self, reference: UUID | str) -> Domain:
        """The domain of this name or id. Raises NotFound."""
        named = str(reference).strip().lower()
        async for domain in self.domains():
            if named in (str(domain.id), domain.domain):
                return domain
        message = f"There is no domain {named!r}; `docuchat domains list` shows them."
        raise NotFound(message, code="domain_not_found")

    async def add_domain(self, domain: str, *, idempotency_key: str | None = None) -> Domain:
        """A domain to prove: publish its `record`, then `verify_domain`."""
        return await self._create(Domain, "/v1/domains", {"domain": domain}, idempotency_key)

    async def verify_domain(self, domain_id: UUID | str) -> Domain:
        """Look for the record; what is proven stays."""
        return await self._get(Domain, "POST", f"/v1/domains/{domain_id}/verify", repeatable=True)

    async def delete_domain(self, domain_id: UUID | str) -> None:
        """Give a domain up."""
        await self._transport.request("DELETE", f"/v1/domains/{domain_id}")

    def identity_providers(self) -> AsyncIterator[IdentityProvider]:
        """Every identity provider of the tenant."""
        return self._every(Page[IdentityProvider], _PROVIDERS)

    async def identity_provider(self, provider_id: UUID | str) -> IdentityProvider:
        """One identity provider."""
        return await self._get(IdentityProvider, "GET", f"{_PROVIDERS}/{provider_id}")

    async def find_identity_provider(self, reference: UUID | str) -> IdentityProvider:
        """The provider of this name or id. Raises NotFound."""
        named = str(reference).strip().casefold()
        async for provider in self.identity_providers():
            if named in (str(provider.id), provider.name.casefold()):
                return provider
        message = f"There is no identity provider {reference!r}; `docuchat identity-providers list` shows them."
        raise NotFound(message, code="identity_provider_not_found")

    async def add_identity_provider(
        self,
        name: str,
        issuer: str,
        client_id: str,
        more: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
    ) -> IdentityProvider:
        """Register its `redirect_uri` at the provider; `more` are fields of POST /v1/identity-providers."""
        body = {"name": name, "issuer": issuer, "client_id": client_id, **(more or {})}
        return await self._create(IdentityProvider, _PROVIDERS, body, idempotency_key)

    async def change_identity_provider(self, provider_id: UUID | str, fields: Mapping[str, Any]) -> IdentityProvider:
        """What is left out stays."""
        path = f"{_PROVIDERS}/{provider_id}"
        return await self._get(IdentityProvider, "PATCH", path, json=dict(fields), repeatable=True)

    async def remove_identity_provider(self, provider_id: UUID | str) -> None:
        """People sign in by it no more; their accounts stay."""
        await self._transport.request("DELETE", f"{_PROVIDERS}/{provider_id}")

    async def usage(self) -> Usage:
        """Tokens, cost and what is left of the quota."""
        return await self._get(Usage, "GET", "/v1/usage")
