"""What jobs need from outside, beside what a document's way needs."""

from typing import Protocol

from docuchat_knowledge.jobs.domain import QueueDepth, WaitingDocument


class DeadLetters(Protocol):
    async def bury(self, document: WaitingDocument) -> None:
        """Leave a ticket of the document in the dead-letter queue; never raises, the row has the truth."""
        ...


class Meter(Protocol):
    """Metrics."""

    def finished(self, outcome: str) -> None: ...

    def stage(self, name: str, seconds: float) -> None: ...

    def queue(self, depth: QueueDepth) -> None: ...
