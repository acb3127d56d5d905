"""What an operator sends and is shown."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from docuchat_common.contracts.dead_letters import DeadLetter
from docuchat_common.http.json_body import Name, StrictBody, Whole


class PartStatus(BaseModel):
    """A service, or what the gateway itself needs."""

    name: str
    ready: bool
    checks: dict[str, str] = Field(description="Each part that it uses: `ok`, or how it fails; none when it is silent.")


class SystemStatus(BaseModel):
    """How the whole product is."""

    parts: list[PartStatus]
    dead_letters: int | None = Field(description="Null when a service did not say.")
    unanswered: list[str] = Field(description="Services that did not say what they gave up.")
    outdated_documents: int | None = Field(description="Embedded with another model than today's; null: unknown.")
    pauses: int | None = Field(description="Accounts at model providers that nobody asks now; null: unknown.")


class ServiceDeadLetter(DeadLetter):
    """Messages of one queue that a service gave up for one reason."""

    service: str


class DeadLetterOverview(BaseModel):
    """The dead letters of all services."""

    items: list[ServiceDeadLetter]
    unanswered: list[str] = Field(description="Services that did not answer, or not as they should.")


class DeadLetterReplay(StrictBody):
    """Whose dead letters to bring back; without a name, everybody's."""

    service: Name | None = None
    queue: Name | None = None


class DeadLettersReplayed(BaseModel):
    """How many messages each service took back."""

    replayed: dict[str, int]
    unanswered: list[str]


class Reembedding(StrictBody):
    """Whose documents to embed again; without a tenant, everybody's."""

    tenant_id: Annotated[Whole, Field(ge=1, lt=1 << 63)] | None = None


class ReembeddingQueued(BaseModel):
    """How many documents were queued."""

    queued: int


class HoldingsCorrected(BaseModel):
    """What was counted otherwise than it is stored: documents that were corrected, and tenants whose sums were.

    Documents that are `left` were heard of meanwhile, or cannot be corrected; the usage service logs these by id.
    """

    corrected: int
    left: int
    tenants: int


class ProviderPause(BaseModel):
    """An account at a model provider that nobody asks before `until`, because it said so."""

    account_id: str
    provider: str
    until: datetime


class ProviderPauses(BaseModel):
    """All accounts that are held back now."""

    items: list[ProviderPause]
