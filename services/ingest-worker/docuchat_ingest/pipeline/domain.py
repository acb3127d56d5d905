"""One document in work, and what bounds the work."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from docuchat_common.ids import HoldId
from docuchat_ingest.pipeline.spending import Spending
from docuchat_ingest.reading.formats import Facts
from docuchat_knowledge.jobs.domain import Claim


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the work on one document."""

    max_pages: int
    max_bytes: int
    max_attempts: int
    embedding_batch: int
    lease: timedelta


@dataclass(slots=True)
class Job:
    """One document in work."""

    claim: Claim
    spending: Spending
    hold_id: HoldId | None = None
    pages: int = 0
    pages_unread: int = 0
    """Pages that are pictures or garbled: nothing of them, or next to nothing, can be found."""
    facts: Facts = field(default_factory=Facts)
    lost: bool = False
    """Whether the claim is known to be lost: nothing more is sent to the provider."""
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Codes of what a reader of answers should know about the document."""
        told = {
            "pages_unread": self.pages_unread > 0,
            "attachments_not_read": bool(self.facts.attachments),
            "outline_not_read": not self.facts.complete,
        }
        return tuple(code for code, applies in told.items() if applies)

    @property
    def info(self) -> dict[str, object]:
        """What the document says of itself, as it is stored; without what it does not say."""
        facts = self.facts
        told = {
            "title": facts.title,
            "author": facts.author,
            "page_labels": facts.labels,
            "attachments": facts.attachments,
        }
        return {name: value for name, value in told.items() if value}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the seconds of the block to the stage."""
        started = time.monotonic()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + time.monotonic() - started
