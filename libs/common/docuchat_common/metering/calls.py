"""A provider call, its ids, and the events that it ends in."""

from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID, uuid5

import structlog
from prometheus_client import Counter

from docuchat_common.events.catalogue import UsageAnomaly, UsageRecorded
from docuchat_common.ids import TenantId
from docuchat_common.metering.bounds import Used

logger = structlog.get_logger()

Kind = Literal["chat", "embedding"]
SubjectKind = Literal["user", "chatbot", "key", "visitor"]

_NAMESPACE: Final = UUID("6f0e2b0e-6a0c-5f0e-9c57-4d1f0c6a7b11")

_anomalies = Counter("docuchat_usage_anomalies", "Figures of providers that were not believed.", ["kind", "reason"])


def call_id_of(*parts: object) -> UUID:
    """A call's id, the same for the same parts: what is called for, and which try it is."""
    return uuid5(_NAMESPACE, "call:" + "\x1f".join(map(str, parts)))


def event_id_of(call_id: UUID) -> UUID:
    """The id of the usage event of a call, or of a turn."""
    return uuid5(_NAMESPACE, f"usage:{call_id}")


@dataclass(frozen=True, slots=True)
class ProviderCall:
    """A call that is about to be made."""

    id: UUID
    tenant_id: TenantId
    kind: Kind
    provider: str
    model: str
    expected_input_tokens: int
    owner: str
    """The process that makes it; `Metering.take_over` asks whether it lives."""
    expected_output_tokens: int = 0
    subjects: tuple[tuple[SubjectKind, UUID], ...] = ()
    """Who it is made for, besides the tenant; at most one of a kind."""
    hold_id: UUID | None = None
    chat_id: UUID | None = None
    turn_id: UUID | None = None
    document_id: UUID | None = None


def usage_events(call: ProviderCall, used: Used) -> list[UsageRecorded | UsageAnomaly]:
    """The events of a settled call; a turn, whose row is its call, publishes them as well."""
    subjects = dict(call.subjects)
    events: list[UsageRecorded | UsageAnomaly] = [
        UsageRecorded(
            id=event_id_of(call.id),
            tenant_id=call.tenant_id,
            kind=call.kind,
            provider=call.provider,
            model=call.model,
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            estimated=used.estimated,
            user_id=subjects.get("user"),
            chatbot_id=subjects.get("chatbot"),
            key_id=subjects.get("key"),
            visitor_id=subjects.get("visitor"),
            chat_id=call.chat_id,
            turn_id=call.turn_id,
            document_id=call.document_id,
            hold_id=call.hold_id,
        )
    ]
    for anomaly in used.anomalies:
        _anomalies.labels(call.kind, anomaly.reason).inc()
        logger.warning(
            "usage.anomaly", provider=call.provider, model=call.model, call_id=str(call.id), reason=anomaly.reason
        )
        events.append(
            UsageAnomaly(
                id=uuid5(_NAMESPACE, f"anomaly:{anomaly.direction}:{call.id}"),
                tenant_id=call.tenant_id,
                call_id=call.id,
                kind=call.kind,
                provider=call.provider,
                model=call.model,
                direction=anomaly.direction,
                reported=anomaly.reported,
                counted=anomaly.counted,
                reason=anomaly.reason,
            )
        )
    return events
