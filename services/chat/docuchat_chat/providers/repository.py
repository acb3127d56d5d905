"""Rows of providers in, domain objects out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import asyncpg
import orjson

from docuchat_chat.providers.domain import Auth, NewProvider, Provider, ProviderId, ProviderModel
from docuchat_chat.providers.errors import ProviderNameTaken
from docuchat_common.db.queries import load_queries
from docuchat_common.ids import TenantId

_queries: Any = load_queries("docuchat_chat.providers")


class ProviderRepository:
    """Providers of a tenant and of the platform."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def count(self, owner: TenantId | None) -> int:
        """Return how many there are; who counts goes on alone until the transaction ends."""
        await _queries.take_turn(self._connection, owner=owner)
        counted: int = await _queries.count_providers(self._connection, owner=owner)
        return counted

    async def add(
        self,
        owner: TenantId | None,
        provider_id: ProviderId,
        new: NewProvider,
        sealed_key: bytes | None,
        key_hint: str | None,
    ) -> Provider:
        """Make one. Raises ProviderNameTaken."""
        async with _unique_name():
            row = await _queries.add_provider(
                self._connection,
                owner=owner,
                provider_id=provider_id,
                name=new.name,
                sealed_key=sealed_key,
                key_hint=key_hint,
                **_columns(new),
            )
        return _provider(row)

    async def save(self, provider: Provider) -> Provider:
        """Keep an edit, as the next revision."""
        row = await _queries.save_provider(
            self._connection,
            owner=provider.tenant_id,
            provider_id=provider.id,
            sealed_key=provider.sealed_key,
            key_hint=provider.key_hint,
            **_columns(provider),
        )
        return _provider(row)

    async def remove(self, owner: TenantId | None, provider_id: ProviderId) -> bool:
        """Delete one; False when there is none."""
        gone = await _queries.remove_provider(self._connection, owner=owner, provider_id=provider_id)
        return gone is not None

    async def find_own(self, owner: TenantId | None, provider_id: ProviderId) -> Provider | None:
        """Return one that nobody else edits until the transaction ends."""
        row = await _queries.find_own(self._connection, owner=owner, provider_id=provider_id)
        return None if row is None else _provider(row)

    async def find(self, tenant_id: TenantId | None, provider_id: ProviderId) -> Provider | None:
        """Return one of the tenant's or the platform's; without a tenant of the platform's."""
        row = await _queries.find_provider(self._connection, tenant_id=tenant_id, provider_id=provider_id)
        return None if row is None else _provider(row)

    async def find_any(self, provider_id: ProviderId) -> Provider | None:
        """Return one, whosever it is (system role)."""
        row = await _queries.find_any(self._connection, provider_id=provider_id)
        return None if row is None else _provider(row)

    async def list_any(self, after: ProviderId | None, limit: int) -> list[Provider]:
        """Return a page of all by id, whosever they are (system role)."""
        return [_provider(row) async for row in _queries.list_any(self._connection, after=after, row_limit=limit)]

    async def seal_anew(self, provider: Provider, sealed_key: bytes) -> bool:
        """Keep a key under another secret, unless it was changed meanwhile."""
        done = await _queries.seal_anew(
            self._connection,
            owner=provider.tenant_id,
            provider_id=provider.id,
            sealed_key=sealed_key,
            before=provider.sealed_key,
        )
        return done is not None

    async def has_platform(self, name: str) -> bool:
        """Whether the platform has a provider of that name."""
        return bool(await _queries.has_platform(self._connection, name=name))

    async def page(self, tenant_id: TenantId | None, limit: int, after: ProviderId | None) -> list[Provider]:
        """Return the tenant's and the platform's by id; without a tenant the platform's."""
        rows = _queries.list_providers(self._connection, tenant_id=tenant_id, after=after, row_limit=limit)
        return [_provider(row) async for row in rows]

    async def list_enabled(self, tenant_id: TenantId) -> list[Provider]:
        """Return what the tenant may use, its own first."""
        return [_provider(row) async for row in _queries.list_enabled(self._connection, tenant_id=tenant_id)]


def _columns(provider: Provider | NewProvider) -> dict[str, Any]:
    return {
        "base_url": provider.base_url,
        "auth": provider.auth.value,
        "query": orjson.dumps(dict(provider.query)).decode(),
        "models": orjson.dumps([_stored(model) for model in provider.models]).decode(),
        "is_enabled": provider.is_enabled,
    }


def _stored(model: ProviderModel) -> dict[str, Any]:
    prices = {"input": model.input, "output": model.output, "embedding": model.embedding}
    # Money is exact, so it is text.
    told = {name: str(price) for name, price in prices.items() if price is not None}
    window = {} if model.context_window is None else {"context_window": model.context_window}
    return {"name": model.name, **told, **window}


def _model(stored: dict[str, Any]) -> ProviderModel:
    prices = {name: Decimal(stored[name]) for name in ("input", "output", "embedding") if name in stored}
    return ProviderModel(stored["name"], context_window=stored.get("context_window"), **prices)


def _provider(row: asyncpg.Record) -> Provider:
    return Provider(
        id=ProviderId(row["id"]),
        tenant_id=None if row["tenant_id"] is None else TenantId(row["tenant_id"]),
        name=row["name"],
        base_url=row["base_url"],
        sealed_key=row["sealed_key"],
        key_hint=row["key_hint"],
        auth=Auth(row["auth"]),
        query=orjson.loads(row["query"]),
        models=tuple(_model(each) for each in orjson.loads(row["models"])),
        is_enabled=row["is_enabled"],
        revision=row["revision"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


@asynccontextmanager
async def _unique_name() -> AsyncIterator[None]:
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "providers_name":
            raise
        raise ProviderNameTaken from error
