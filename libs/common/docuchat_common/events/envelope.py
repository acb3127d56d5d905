"""The envelope: CloudEvents 1.0 in structured JSON mode, type = routing key. https://github.com/cloudevents/spec"""

from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from docuchat_common.ids import uuid7

_ENVELOPE_FIELDS = frozenset({"id", "time", "tenant_id"})


class MalformedEvent(ValueError):
    """A message is not an event of the catalogue; it can never succeed."""


class Event(BaseModel):
    """A fact that happened, in the past tense. Ids and facts only: no document text, no e-mail address."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    source: ClassVar[str]
    needs_subscriber: ClassVar[bool] = False
    """True when the product stops without a consumer: such an event waits in the outbox for a queue to exist."""

    id: UUID = Field(default_factory=uuid7)
    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    tenant_id: int

    def to_cloudevent(self) -> bytes:
        """The CloudEvents JSON; `tenantid` is an extension attribute, everything else is in `data`."""
        return orjson.dumps(
            {
                "specversion": "1.0",
                "id": str(self.id),
                "source": self.source,
                "type": self.type,
                "time": self.time.isoformat(),
                "tenantid": str(self.tenant_id),
                "datacontenttype": "application/json",
                "data": self.model_dump(mode="json", exclude=set(_ENVELOPE_FIELDS)),
            }
        )


def envelope_fields(body: bytes) -> tuple[str, dict[str, Any]]:
    """Type and model fields of a CloudEvents JSON `body`; MalformedEvent when it is none."""
    try:
        envelope = orjson.loads(body)
        if envelope["specversion"] != "1.0":
            raise MalformedEvent("not CloudEvents 1.0")
        fields = {
            **envelope["data"],
            "id": envelope["id"],
            "time": envelope["time"],
            "tenant_id": int(envelope["tenantid"]),
        }
        return str(envelope["type"]), fields
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, MalformedEvent):
            raise
        raise MalformedEvent("not a CloudEvents JSON object") from error
