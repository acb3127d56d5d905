"""The provider calls of one document: a row before each call, settled once, apart from any claim on the document.

A call is settled in the transaction that declares the next one, before its vectors are stored: what becomes of the
document does not matter to the books, and while a batch is being stored the next one is embedded.
"""

from dataclasses import dataclass

from docuchat_common.metering import Metering, ProviderCall, Used
from docuchat_ingest.transaction import PatientCommits, Transaction


@dataclass(slots=True)
class Spending:
    """At most one call is open at a time."""

    commit: PatientCommits
    metering: Metering
    call: ProviderCall | None = None
    used: Used | None = None
    """What the open call costs as far as is known; None while nothing was sent, and when nothing is billed."""
    following: ProviderCall | None = None
    """May have been declared: no answer of the database told."""

    async def go_on(self, following: ProviderCall | None) -> None:
        """Settle the open call, if there is one, and declare the next one. Raises UpstreamUnavailable."""
        call, used = self.call, self.used
        self.following = following
        either = call or following
        if either is None:
            return

        async def book(tx: Transaction) -> None:
            if call:
                await (tx.calls.settle(call.id, used) if used else tx.calls.void(call.id))
            if following:
                await tx.calls.declare(following)

        await self.commit(either.tenant_id, book)
        self.call, self.used, self.following = following, None, None

    def sent(self) -> None:
        """The open call is on its way: until its answer is known it costs what was expected."""
        if self.call:
            self.used = Used(self.call.expected_input_tokens, estimated=True)

    def answered(self, used: Used | None) -> None:
        """The open call costs this; None for nothing."""
        self.used = used

    async def end(self) -> None:
        """Settle what is open, however the document ended."""
        for call, used in ((self.call, self.used), (self.following, None)):
            if call:
                await self.metering.close(call, used)
        self.call = self.following = None
