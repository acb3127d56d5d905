"""The audit log in Postgres: rows in, domain objects out."""

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from docuchat_auth.audit.domain import Entry, Filter, Head, Link
from docuchat_common.db import load_queries
from docuchat_common.ids import TenantId, UserId

_queries: Any = load_queries("docuchat_auth.audit")
_ENTRY: Final = tuple(field.name for field in fields(Entry))


class AuditRepository:
    """The chains that this transaction may see. No role may change anything in them."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def lock(self, chain: TenantId) -> None:
        """Make others who book into a chain wait until this transaction ends."""
        await _queries.lock_chain(self._connection, chain=chain)

    async def heads(self, chains: Collection[TenantId]) -> dict[TenantId, Head]:
        """System transactions only: the end of each chain that has entries."""
        rows = _queries.list_heads(self._connection, chains=list(chains))
        return {TenantId(row["chain"]): Head(row["seq"], row["hash"]) async for row in rows}

    async def known(self, event_ids: Collection[UUID]) -> set[UUID]:
        """System transactions only: those of these events that are booked."""
        return {row["event_id"] async for row in _queries.list_known(self._connection, event_ids=list(event_ids))}

    async def add(self, links: Sequence[Link]) -> None:
        """System transactions only: append."""
        await _queries.add_links(
            self._connection,
            chains=[link.entry.chain for link in links],
            seqs=[link.seq for link in links],
            event_ids=[link.entry.event_id for link in links],
            moments=[link.entry.at for link in links],
            tenant_ids=[link.entry.tenant_id for link in links],
            subject_types=[link.entry.subject_type for link in links],
            subject_ids=[link.entry.subject_id for link in links],
            actions=[link.entry.action for link in links],
            object_types=[link.entry.object_type for link in links],
            object_ids=[link.entry.object_id for link in links],
            results=[link.entry.result for link in links],
            addresses=[link.entry.address for link in links],
            request_ids=[link.entry.request_id for link in links],
            details=[link.entry.detail for link in links],
            prev_hashes=[link.prev_hash for link in links],
            hashes=[link.hash for link in links],
            salts=[link.address_salt for link in links],
            digests=[link.address_digest for link in links],
        )

    async def list_before(self, chain: TenantId, before: int | None, wanted: Filter, limit: int) -> list[Link]:
        """The latest of the wanted entries before a number."""
        rows = _queries.list_links_before(
            self._connection,
            chain=chain,
            before=before,
            actor=wanted.actor,
            action=wanted.action,
            object_type=wanted.object_type,
            object_id=wanted.object_id,
            since=wanted.since,
            until=wanted.until,
            max_rows=limit,
        )
        return [_link(row) async for row in rows]

    async def list_after(self, chain: TenantId, after: int, limit: int) -> list[Link]:
        """The next entries in the chain's order."""
        rows = _queries.list_links_after(self._connection, chain=chain, after=after, max_rows=limit)
        return [_link(row) async for row in rows]

    async def find_hash(self, chain: TenantId, seq: int) -> bytes | None:
        found: bytes | None = await _queries.find_hash(self._connection, chain=chain, seq=seq)
        return found

    async def erased(self, chains: Collection[TenantId]) -> set[TenantId]:
        """System transactions only: those of these tenants that are being erased, or were."""
        rows = _queries.list_erased(self._connection, chains=list(chains))
        return {TenantId(row["tenant_id"]) async for row in rows}

    async def erased_people(self, entries: Collection[Entry]) -> set[tuple[TenantId, UUID]]:
        """System transactions only: chain and subject of those of these entries that are by somebody who was erased."""
        rows = _queries.list_erased_people(
            self._connection,
            chains=[entry.chain for entry in entries],
            subject_ids=[entry.subject_id for entry in entries],
        )
        return {(TenantId(row["chain"]), row["subject_id"]) async for row in rows}

    async def find_anchor(self, chain: TenantId) -> Head:
        """What the first entry that is left of a chain follows."""
        row = await _queries.find_anchor(self._connection, chain=chain)
        return Head() if row is None else Head(row["seq"], row["hash"])

    async def find_chain_after(self, after: int) -> TenantId | None:
        """System transactions only: the next chain by number."""
        found = await _queries.find_chain_after(self._connection, after=after)
        return None if found is None else TenantId(found)

    async def forget(self, chain: TenantId, older_than: timedelta, limit: int) -> int:
        """System transactions only: forget the oldest entries of a chain; returns how many."""
        forgotten: int = await _queries.forget(self._connection, chain=chain, older_than=older_than, max_rows=limit)
        return forgotten

    async def strip(self, chain: TenantId, limit: int) -> int:
        """System transactions only: leave addresses out of a tenant's log that is being erased; in how many entries."""
        stripped: int = await _queries.strip(self._connection, chain=chain, max_rows=limit)
        return stripped

    async def strip_person(self, chain: TenantId, user_id: UserId, limit: int) -> int:
        """System transactions only: leave an erased user's addresses out of a tenant's log; in how many entries."""
        stripped: int = await _queries.strip_person(self._connection, chain=chain, user_id=user_id, max_rows=limit)
        return stripped


def _link(row: asyncpg.Record) -> Link:
    return Link(
        row["seq"],
        Entry(**{name: row[name] for name in _ENTRY}),
        row["prev_hash"],
        row["hash"],
        row["address_salt"],
        row["address_digest"],
    )
