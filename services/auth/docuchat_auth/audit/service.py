"""Book entries into their chains, show them, and look whether a chain holds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from docuchat_auth.audit.domain import NO_HASH, Break, Entry, Filter, Head, Link, Verification, breaks_in
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.http.caller import NO_TENANT
from docuchat_common.ids import TenantId, UserId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

_OF_THE_INSTALLATION: Final = frozenset({"operator", "command"})
_PAGE: Final = 1_000
MOST_VERIFIED: Final = 20_000
"""Entries that one call looks at."""
_MOST_BREAKS: Final = 100
_ADDRESSES: Final = "addresses_in_the_audit_log"


class AuditLog:
    """The chains of all tenants, and the installation's."""

    def __init__(self, uow: UnitOfWork[Tx]) -> None:
        self._uow = uow

    async def book(self, events: Sequence[AuditRecorded]) -> None:
        """Append each event once to its chain, in the order given."""
        entries = {event.id: _entry(event) for event in events}
        chains = sorted({entry.chain for entry in entries.values()})
        async with self._uow.system() as tx:
            for chain in chains:
                await tx.audit.lock(chain)
            # what comes late of a tenant that was deleted is not kept
            done = await tx.audit.erased(chains)
            known = await tx.audit.known(entries.keys())
            # of a person who was erased no address comes in late
            people = await tx.audit.erased_people([entry for entry in entries.values() if entry.address is not None])
            heads = await tx.audit.heads(chains)
            links = []
            for entry in entries.values():
                if entry.event_id in known or entry.chain in done:
                    continue
                is_erased = (entry.chain, entry.subject_id) in people
                told = replace(entry, address=None) if is_erased else entry
                link = Link.after(heads.get(entry.chain, Head()), told)
                heads[entry.chain] = Head(link.seq, link.hash)
                links.append(link)
            if links:
                await tx.audit.add(links)

    async def page(self, chain: TenantId, wanted: Filter, before: int | None, limit: int) -> list[Link]:
        """The latest of the wanted entries before a number."""
        async with self._uow(chain) as tx:
            return await tx.audit.list_before(chain, before, wanted, limit)

    async def every(self, chain: TenantId, wanted: Filter) -> AsyncIterator[Link]:
        """All wanted entries, the latest first; no transaction is open while the reader takes its time."""
        before: int | None = None
        while page := await self.page(chain, wanted, before, _PAGE):
            for link in page:
                yield link
            before = page[-1].seq

    async def verify(self, chain: TenantId, after: int) -> Verification:
        """Look whether the entries after a number follow from one another; the one of that number is taken as right."""
        checked, breaks = 0, list[Break]()
        async with self._uow(chain) as tx:
            head = await tx.audit.find_anchor(chain)
            if after > head.seq:
                head = Head(after, await tx.audit.find_hash(chain, after) or NO_HASH)
        while checked < MOST_VERIFIED and len(breaks) < _MOST_BREAKS:
            async with self._uow(chain) as tx:
                links = await tx.audit.list_after(chain, head.seq, _PAGE)
            if not links:
                return Verification(checked, head, tuple(breaks), is_whole=True)
            breaks += breaks_in(links, head)
            head = Head(links[-1].seq, links[-1].hash)
            checked += len(links)
        return Verification(checked, head, tuple(breaks[:_MOST_BREAKS]), is_whole=False)

    async def forget(self, older_than: timedelta) -> int:
        """Forget what is older, from the beginnings of all chains; what is left still proves itself. How many."""
        forgotten, after = 0, -1
        while True:
            async with self._uow.system() as tx:
                chain = await tx.audit.find_chain_after(after)
            if chain is None:
                return forgotten
            gone = _PAGE
            while gone == _PAGE:
                async with self._uow.system() as tx:
                    gone = await tx.audit.forget(chain, older_than, _PAGE)
                forgotten += gone
            after = chain

    async def strip(self, tenant_id: TenantId) -> None:
        """Leave the addresses out of the log of a tenant that is being erased; its erasure counts them."""
        batch = 1
        while batch:
            async with self._uow.system() as tx:
                batch = await tx.audit.strip(tenant_id, _PAGE)
                await tx.erasures.count(tenant_id, {_ADDRESSES: batch} if batch else {})

    async def strip_person(self, tenant_id: TenantId, user_id: UserId) -> None:
        """Leave the addresses of an erased user, and of the user's keys, out of the log; the receipt counts them."""
        batch = _PAGE
        while batch == _PAGE:
            async with self._uow.system() as tx:
                batch = await tx.audit.strip_person(tenant_id, user_id, _PAGE)
                if batch:
                    await tx.user_receipts.count(tenant_id, user_id, _ADDRESSES, batch)


def _entry(event: AuditRecorded) -> Entry:
    return Entry(
        chain=NO_TENANT if event.subject_type in _OF_THE_INSTALLATION else TenantId(event.tenant_id),
        event_id=event.id,
        at=event.time,
        tenant_id=event.tenant_id,
        subject_type=event.subject_type,
        subject_id=event.subject_id,
        action=event.action,
        object_type=event.object_type,
        object_id=event.object_id,
        result=event.result,
        address=event.address,
        request_id=event.request_id,
        detail=event.detail,
    )
