"""Requests that were refused to somebody who is signed in: entries of the audit log that no request waits for."""

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Final, Protocol

from fastapi import Request
from prometheus_client import Counter

from docuchat_common.audit import entry
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.http.addresses import client_address
from docuchat_common.http.caller import Caller
from docuchat_common.http.identity import bearer_token
from docuchat_common.ids import TenantId
from docuchat_common.messaging.outbox import Outbox

WRITE_EVERY: Final = timedelta(seconds=1)
_AGAIN_AFTER: Final = 60.0
"""Seconds for which the same refusal of the same caller is one entry; visitors of a chatbot are one caller."""
_MOST_WAITING: Final = 1_000
_MOST_REMEMBERED: Final = 10_000
_dropped = Counter("docuchat_refusals_dropped", "Refusals that found no room on their way into the audit log.")


class _OutboxTx(Protocol):
    @property
    def outbox(self) -> Outbox: ...


class Refusals:
    """Collects refusals and writes them beside the requests; nobody can fill the log by repeating one."""

    def __init__(
        self,
        transactions: Callable[[TenantId], AbstractAsyncContextManager[_OutboxTx]],
        *,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transactions = transactions
        self._elapsed = elapsed
        self._told: dict[tuple[str, str], float] = {}
        self._waiting: deque[AuditRecorded] = deque()

    def note(self, request: Request, caller: Caller, path: str) -> None:
        """Remember that `caller` was refused an operation; `path` is its template."""
        operation = f"{request.method} {path}"
        # whoever likes can be another visitor
        who = f"visitors {caller.chatbot_id}" if caller.subject_type == "visitor" else caller.subject
        key, now = (who, operation), self._elapsed()
        if now - self._told.get(key, float("-inf")) < _AGAIN_AFTER:
            return
        if len(self._waiting) >= _MOST_WAITING:
            _dropped.inc()
            return
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told[key] = now
        refused = entry(caller, "access.deny", operation, object_type="operation", result="refused")
        self._waiting.append(refused.model_copy(update={"address": client_address(request)}))

    async def write(self) -> None:
        """Write what was collected; what the database does not take now is tried again."""
        while self._waiting:
            event = self._waiting[0]
            try:
                async with self._transactions(TenantId(event.tenant_id)) as tx:
                    tx.outbox.add(event)
            except UpstreamUnavailable:
                return
            self._waiting.popleft()


async def note_refusal(request: Request, path: str) -> None:
    """Note that whoever is signed in was refused an operation; for the `except Forbidden` of a route."""
    container = request.app.state.container
    refusals: Refusals | None = getattr(container, "refusals", None)
    if refusals is None:
        return
    try:
        identity = await container.verifier.identify(bearer_token(request.headers))
    except DocuChatError:
        return  # nobody is
    refusals.note(request, identity.caller, path)
