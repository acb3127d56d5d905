"""Providers: make, list, change, delete."""

from __future__ import annotations

import ipaddress
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

import structlog
from yarl import URL

from docuchat_chat.providers.catalogue import Catalogue
from docuchat_chat.providers.checks import Check
from docuchat_chat.providers.domain import (
    MOST_PROVIDERS,
    RESERVED,
    NewProvider,
    Provider,
    ProviderEdit,
    ProviderId,
    hint_of,
)
from docuchat_chat.providers.errors import (
    ProviderChanged,
    ProviderKeyNeeded,
    ProviderNameReserved,
    ProviderNameTaken,
    ProviderNotFound,
    ProviderOfPlatform,
    TooManyProviders,
)
from docuchat_chat.providers.ports import Clients, Prices, ProvidersTx
from docuchat_chat.providers.probing import check
from docuchat_chat.providers.sealing import SealedKeys
from docuchat_chat.providers.upkeep import Upkeep
from docuchat_chat.providers.watching import Health, Watch
from docuchat_common.audit import entry
from docuchat_common.db.uow import Transactions
from docuchat_common.egress import EgressPolicy, UrlRefused, UrlUnreachable
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, uuid7

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose providers are written, and who writes: the tenant of the caller, or the platform by an operator."""

    caller: Caller
    tenant_id: TenantId | None

    @classmethod
    def tenant(cls, caller: Caller) -> Owner:
        """The caller's tenant."""
        return cls(caller, caller.tenant_id)

    @classmethod
    def platform(cls, operator: Caller) -> Owner:
        """The platform, in the hands of an operator."""
        return cls(operator, None)


class ProviderService:
    """What is done with providers beside asking them."""

    def __init__(
        self,
        transactions: Transactions[ProvidersTx],
        keys: SealedKeys,
        policy: EgressPolicy,
        catalogue: Catalogue,
        clients: Clients,
        watch: Watch,
        prices: Prices,
        upkeep: Upkeep,
        environment: Provider | None = None,
    ) -> None:
        """`policy` is where tenants' providers may be; `environment` is no row, and shown to operators beside them."""
        self._transactions = transactions
        self._keys = keys
        self._policy = policy
        self._catalogue = catalogue
        self._clients = clients
        self._watch = watch
        self._prices = prices
        self._upkeep = upkeep
        self._environment = environment

    async def page(self, owner: Owner, limit: int, after: ProviderId | None) -> list[Provider]:
        """List what the owner sees: a tenant its own and the platform's."""
        async with self._open(owner) as tx:
            found = await tx.providers.page(owner.tenant_id, limit, after)
        if self._environment is not None and owner.tenant_id is None and after is None:
            return [self._environment, *found][:limit]
        return found

    async def get(self, owner: Owner, provider_id: ProviderId) -> Provider:
        """Return one that the owner sees. Raises ProviderNotFound."""
        if self._environment is not None and owner.tenant_id is None and provider_id == self._environment.id:
            return self._environment
        async with self._open(owner) as tx:
            found = await tx.providers.find(owner.tenant_id, provider_id)
        if found is None:
            raise ProviderNotFound
        return found

    async def create(
        self, owner: Owner, new: NewProvider, api_key: str | None, settle: Settle[Provider] = without_key
    ) -> Provider:
        """Make one.

        Raises ProviderNameReserved, ProviderNameTaken, TooManyProviders, UrlRefused, UrlUnreachable, and
        UpstreamUnavailable while usage cannot be told the prices.
        """
        if new.name in RESERVED:
            raise ProviderNameReserved
        self._require_address(owner, new.base_url)
        provider_id = ProviderId(uuid7())
        sealed = None if api_key is None else self._keys.close(api_key, owner.tenant_id, provider_id)
        hint = None if api_key is None else hint_of(api_key)
        async with self._upkeep.watch(owner.tenant_id, provider_id), self._open(owner) as tx:
            if await tx.providers.count(owner.tenant_id) >= MOST_PROVIDERS:
                raise TooManyProviders(limit=MOST_PROVIDERS)
            if owner.tenant_id is not None and await tx.providers.has_platform(new.name):
                raise ProviderNameTaken
            made = await tx.providers.add(owner.tenant_id, provider_id, new, sealed, hint)
            await self._prices.put(made)  # before anybody can ask it: what is not committed is not asked
            tx.outbox.add(entry(owner.caller, "provider.create", provider_id, detail=made.name))
            await settle(tx, made)
        self._changed(made, "provider.created")
        return made

    async def change(self, owner: Owner, provider_id: ProviderId, edit: ProviderEdit) -> Provider:
        """Change one; what is not named stays.

        Raises ProviderNotFound, ProviderOfPlatform, ProviderChanged, ProviderKeyNeeded, UrlRefused, UrlUnreachable.
        """
        if "base_url" in edit.fields:
            self._require_address(owner, edit.fields["base_url"])
        async with self._upkeep.watch(owner.tenant_id, provider_id), self._open(owner) as tx:
            before = await self._find_own(tx, owner, provider_id)
            if edit.revision is not None and edit.revision != before.revision:
                raise ProviderChanged(revision=before.revision)
            after = replace(before, **edit.fields)
            if edit.api_key is not None:
                sealed = self._keys.close(edit.api_key, owner.tenant_id, provider_id)
                after = replace(after, sealed_key=sealed, key_hint=hint_of(edit.api_key))
            elif before.sealed_key is not None and URL(after.base_url).origin() != URL(before.base_url).origin():
                # Who may write the address, but never knew the key, would be sent it.
                raise ProviderKeyNeeded
            saved = await tx.providers.save(after)
            if saved.models != before.models:
                await self._prices.put(saved)
            named = sorted(edit.fields) + ([] if edit.api_key is None else ["api_key"])
            tx.outbox.add(entry(owner.caller, "provider.update", provider_id, detail=", ".join(named)))
        self._changed(saved, "provider.changed")
        return saved

    async def delete(self, owner: Owner, provider_id: ProviderId) -> None:
        """Delete one: what it is answering is finished, new questions are refused.

        Raises ProviderNotFound, ProviderOfPlatform.
        """
        async with self._open(owner) as tx:
            gone = await self._find_own(tx, owner, provider_id)
            await tx.providers.remove(owner.tenant_id, provider_id)
            await tx.requests.forget_about(owner.caller.tenant_id, provider_id)
            tx.outbox.add(entry(owner.caller, "provider.delete", provider_id, detail=gone.name))
        self._changed(gone, "provider.deleted")

    async def check(self, owner: Owner, provider_id: ProviderId) -> Check:
        """Ask one for its models and say what is wrong. Raises ProviderNotFound, ProviderOfPlatform."""
        provider = await self.get(owner, provider_id)
        if provider.tenant_id != owner.tenant_id:
            raise ProviderOfPlatform
        outcome = await check(provider, self._clients)
        if outcome.is_ok:
            self._watch.worked(provider)
        async with self._open(owner) as tx:
            tx.outbox.add(entry(owner.caller, "provider.check", provider_id, detail=outcome.code))
        return outcome

    def health_of(self, provider: Provider) -> Health:
        """Return how it is, as far as is known from its calls."""
        return self._watch.of(provider.id)

    def _open(self, owner: Owner) -> AbstractAsyncContextManager[ProvidersTx]:
        return self._transactions.system() if owner.tenant_id is None else self._transactions(owner.tenant_id)

    def _changed(self, provider: Provider, event: str) -> None:
        logger.info(event, provider_id=str(provider.id), tenant_id=provider.tenant_id)
        self._catalogue.forget(provider.tenant_id)
        self._watch.forget(provider.id)

    def _require_address(self, owner: Owner, base_url: str) -> None:
        """Refuse what can be told from the address alone; where its name leads is checked at each connection."""
        if owner.tenant_id is None:
            return
        try:
            url = URL(base_url)
            self._policy.assert_allowed(url)
        except ValueError as error:  # of a port that is no number
            raise UrlRefused from error
        if _is_numeric(host := url.host or "") and self._policy.refuses(
            host, url.port or 443, is_named=self._policy.names(url)
        ):
            raise UrlUnreachable

    async def _find_own(self, tx: ProvidersTx, owner: Owner, provider_id: ProviderId) -> Provider:
        found = await tx.providers.find_own(owner.tenant_id, provider_id)
        if found is not None:
            return found
        if await tx.providers.find(owner.tenant_id, provider_id) is not None:
            raise ProviderOfPlatform
        if self._environment is not None and owner.tenant_id is None and provider_id == self._environment.id:
            raise ProviderNotFound(
                "This provider is set by OPENAI_BASE_URL and its like; only the environment changes it."
            )
        raise ProviderNotFound


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
