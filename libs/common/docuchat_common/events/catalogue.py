"""Every event, frozen and versioned.

Optional fields may be added inside a version; anything else is a new version, published beside the old one. The JSON
schemas in `schemas/` are committed, `python -m docuchat_common.events` writes them, a test refuses incompatible change.
"""

from typing import Any, ClassVar, Literal
from uuid import UUID

from pydantic import AwareDatetime, NonNegativeInt, PositiveInt, ValidationError

from docuchat_common.events.chats import (
    ChatbotDeleted,
    ChatbotPublished,
    ChatbotUnpublished,
    ChatDeleted,
    ChatMessageCompleted,
    MessageFeedback,
)
from docuchat_common.events.envelope import Envelope, Event, MalformedEvent, open_envelope

SubjectType = Literal["tenant", "chatbot", "key", "user"]
Unit = Literal["tokens", "cost"]
AuditResult = Literal["done", "refused", "failed"]


class TenantCreated(Event):
    """A tenant can be used from now on."""

    type: ClassVar[str] = "tenant.created.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth",)
    taken_by: ClassVar[tuple[str, ...]] = ("usage",)

    slug: str
    name: str


class TenantSettings(Event):
    """For how many days a tenant keeps chats and documents, None for ever; the greatest `version` is in force."""

    type: ClassVar[str] = "tenant.settings.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth",)
    taken_by: ClassVar[tuple[str, ...]] = ("chat", "ingest")

    version: NonNegativeInt
    chats_days: PositiveInt | None
    documents_days: PositiveInt | None


class TenantDeleted(Event):
    """A tenant is gone for good: who keeps anything of it erases that and says so (`tenant.erased.v1`)."""

    type: ClassVar[str] = "tenant.deleted.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth",)
    taken_by: ClassVar[tuple[str, ...]] = ("chat", "ingest", "usage")


class TenantErased(Event):
    """A service has erased what it kept of a deleted tenant: how much of what, and what it keeps for which reason."""

    type: ClassVar[str] = "tenant.erased.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth", "chat", "ingest", "usage")
    taken_by: ClassVar[tuple[str, ...]] = ("auth",)

    service: str
    erased: dict[str, NonNegativeInt]
    kept: dict[str, str]


class UserRegistered(Event):
    """A user joined a tenant."""

    type: ClassVar[str] = "user.registered.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth",)

    user_id: UUID
    role: str


class UserRemoved(Event):
    """A user is gone for good; the documents go to `hand_over_to`, and without that they are deleted.

    What is private to a user, as chats are, is deleted in any case.
    """

    type: ClassVar[str] = "user.removed.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth",)
    taken_by: ClassVar[tuple[str, ...]] = ("ingest", "chat", "usage")

    user_id: UUID
    hand_over_to: UUID | None = None
    key_ids: tuple[UUID, ...] = ()
    """The user's API keys, which are gone as well."""
    is_erasure: bool = False
    """Whether each service says what it erased (`user.erased.v1`)."""


class UserErased(Event):
    """A service has erased what it kept of a user: how much of what, and what it keeps for which reason."""

    type: ClassVar[str] = "user.erased.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth", "chat", "ingest", "usage")
    taken_by: ClassVar[tuple[str, ...]] = ("auth",)

    user_id: UUID
    service: str
    erased: dict[str, NonNegativeInt]
    kept: dict[str, str]


class KeyRotated(Event):
    """A new signing key is published; tokens of the old ones stay valid until they expire."""

    type: ClassVar[str] = "key.rotated.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth",)

    kid: str


class DocumentUploaded(Event):
    """A document is stored and registered, and waits for ingestion."""

    type: ClassVar[str] = "document.uploaded.v1"
    published_by: ClassVar[tuple[str, ...]] = ("gateway",)
    taken_by: ClassVar[tuple[str, ...]] = ("ingest", "usage")

    document_id: UUID
    collection_id: UUID
    user_id: UUID | None
    sha256: str
    size_bytes: PositiveInt
    media_type: str
    hold_id: UUID | None = None


class DocumentDeleted(Event):
    """A document is gone from search; what is left of it in the blob store is to be removed."""

    type: ClassVar[str] = "document.deleted.v1"
    published_by: ClassVar[tuple[str, ...]] = ("gateway", "ingest")
    taken_by: ClassVar[tuple[str, ...]] = ("ingest", "chat", "usage")

    document_id: UUID
    user_id: UUID | None


class DocumentProcessing(Event):
    """A worker took a document."""

    type: ClassVar[str] = "document.processing.v1"
    published_by: ClassVar[tuple[str, ...]] = ("ingest",)

    document_id: UUID
    attempt: PositiveInt


class DocumentReady(Event):
    """A document can be searched."""

    type: ClassVar[str] = "document.ready.v1"
    published_by: ClassVar[tuple[str, ...]] = ("ingest",)
    taken_by: ClassVar[tuple[str, ...]] = ("usage",)

    document_id: UUID
    pages: NonNegativeInt
    chunks: NonNegativeInt
    tokens: NonNegativeInt
    generation: NonNegativeInt
    pages_unread: NonNegativeInt = 0
    """Pages that are pictures, or garbled."""
    warnings: tuple[str, ...] = ()
    """Codes of what a reader of answers should know."""


class DocumentFailed(Event):
    """A document was given up, for a reason its owner can read."""

    type: ClassVar[str] = "document.failed.v1"
    published_by: ClassVar[tuple[str, ...]] = ("ingest",)

    document_id: UUID
    error_code: str
    error_detail: str
    attempts: NonNegativeInt
    retryable: bool


class UsageRecorded(Event):
    """A model was called: so many tokens are to be booked.

    `kind` "embedding" counts in `input_tokens`. `estimated` is true when the provider's own figure never came. With
    `corrects` the tokens are the right figures of the earlier event of that id: the difference is booked.
    """

    type: ClassVar[str] = "usage.recorded.v1"
    published_by: ClassVar[tuple[str, ...]] = ("chat", "ingest")
    taken_by: ClassVar[tuple[str, ...]] = ("usage",)
    is_streamed: ClassVar[bool] = True

    kind: Literal["chat", "embedding"]
    provider: str
    model: str
    input_tokens: NonNegativeInt
    output_tokens: NonNegativeInt
    estimated: bool
    user_id: UUID | None = None
    chatbot_id: UUID | None = None
    key_id: UUID | None = None
    visitor_id: UUID | None = None
    chat_id: UUID | None = None
    turn_id: UUID | None = None
    document_id: UUID | None = None
    hold_id: UUID | None = None
    corrects: UUID | None = None


class UsageAnomaly(Event):
    """A provider said a token count that cannot be true; our own count was booked, as estimated."""

    type: ClassVar[str] = "usage.anomaly.v1"
    published_by: ClassVar[tuple[str, ...]] = ("chat", "ingest")
    is_streamed: ClassVar[bool] = True

    call_id: UUID
    kind: Literal["chat", "embedding"]
    provider: str
    model: str
    direction: Literal["input_tokens", "output_tokens"]
    reported: str
    counted: NonNegativeInt
    reason: Literal["malformed", "too_low", "too_high"]


class QuotaThreshold(Event):
    """Usage passed a share of its limit, for the first time in this period."""

    type: ClassVar[str] = "quota.threshold.v1"
    published_by: ClassVar[tuple[str, ...]] = ("usage",)
    is_streamed: ClassVar[bool] = True

    subject_type: SubjectType
    subject_id: str
    period_start: AwareDatetime
    used: str
    limit: str
    unit: Unit
    percent: PositiveInt
    used_amount: float | None = None
    limit_amount: float | None = None


class QuotaExceeded(Event):
    """A request was refused because a limit is reached."""

    type: ClassVar[str] = "quota.exceeded.v1"
    published_by: ClassVar[tuple[str, ...]] = ("usage",)
    is_streamed: ClassVar[bool] = True

    subject_type: SubjectType
    subject_id: str
    used: str
    limit: str
    unit: Unit
    resets_at: AwareDatetime
    used_amount: float | None = None
    limit_amount: float | None = None


class AuditRecorded(Event):
    """Somebody did something, or was refused it; auth books it into the tenant's chain.

    `tenantid` is the tenant that it concerns; what an operator or a command does is in the installation's own chain.
    """

    type: ClassVar[str] = "audit.recorded.v1"
    published_by: ClassVar[tuple[str, ...]] = ("auth", "chat", "gateway", "ingest", "usage")
    taken_by: ClassVar[tuple[str, ...]] = ("auth",)

    subject_type: Literal["user", "visitor", "key", "chatbot", "operator", "command", "retention", "removal"]
    subject_id: UUID | None
    action: str
    object_type: str
    object_id: str | None
    result: AuditResult
    address: str | None = None
    request_id: str | None = None
    detail: str | None = None


class ExportRequested(Event):
    """Somebody asked for an archive of all that is kept of the tenant, or of one of its people."""

    type: ClassVar[str] = "export.requested.v1"
    published_by: ClassVar[tuple[str, ...]] = ("gateway",)
    taken_by: ClassVar[tuple[str, ...]] = ("ingest",)

    export_id: UUID
    user_id: UUID | None = None
    """Whose; null for all of the tenant's."""


class ExportReady(Event):
    """An archive can be fetched, until it expires."""

    type: ClassVar[str] = "export.ready.v1"
    published_by: ClassVar[tuple[str, ...]] = ("ingest",)

    export_id: UUID
    user_id: UUID | None = None
    size_bytes: PositiveInt
    expires_at: AwareDatetime


CATALOGUE: tuple[type[Event], ...] = (
    TenantCreated,
    TenantSettings,
    TenantDeleted,
    TenantErased,
    UserRegistered,
    UserRemoved,
    UserErased,
    KeyRotated,
    DocumentUploaded,
    DocumentDeleted,
    DocumentProcessing,
    DocumentReady,
    DocumentFailed,
    UsageRecorded,
    UsageAnomaly,
    ChatMessageCompleted,
    MessageFeedback,
    ChatbotPublished,
    ChatbotUnpublished,
    ChatbotDeleted,
    ChatDeleted,
    QuotaThreshold,
    QuotaExceeded,
    AuditRecorded,
    ExportRequested,
    ExportReady,
)
BY_TYPE: dict[str, type[Event]] = {event.type: event for event in CATALOGUE}


def parse_event(body: bytes) -> Event:
    """The event in a CloudEvents JSON `body`; MalformedEvent when it is not one of the catalogue."""
    return event_in(open_envelope(body))


def event_in(envelope: Envelope) -> Event:
    """The event of an opened envelope; MalformedEvent when it is not one of the catalogue."""
    event_class = BY_TYPE.get(envelope.type)
    if event_class is None:
        raise MalformedEvent(f"unknown event type {envelope.type[:100]!r}")
    try:
        return event_class.model_validate(envelope.fields)
    except ValidationError as error:
        places = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors(include_input=False))
        raise MalformedEvent(f"{envelope.type}: invalid {places}") from error


def json_schemas() -> dict[str, dict[str, Any]]:
    """JSON schema of every event as it is on the wire, a whole CloudEvent, by type."""
    return {event.type: event.wire_schema() for event in CATALOGUE}
