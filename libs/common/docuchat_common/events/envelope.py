"""The envelope: CloudEvents 1.0 in structured JSON mode, type = routing key. https://github.com/cloudevents/spec"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

import orjson
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from docuchat_common.ids import uuid7

_PART_NAMES = {"ingest": "ingest-worker"}  # as published from the beginning
_ENVELOPE_FIELDS = frozenset({"id", "time", "tenant_id"})


class MalformedEvent(ValueError):
    """A message is not an event of the catalogue; it can never succeed."""


class Event(BaseModel):
    """A fact that happened, in the past tense. Ids and facts only: no document text, no e-mail address."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str]
    published_by: ClassVar[tuple[str, ...]]
    """The services that may publish it: the broker lets nobody else."""
    taken_by: ClassVar[tuple[str, ...]] = ()
    """The services that must get it: each has a queue for it, and while one has none, it waits in the outbox."""
    is_streamed: ClassVar[bool] = False
    """True when it is also kept in the stream that other systems replay."""

    id: UUID = Field(default_factory=uuid7)
    time: AwareDatetime = Field(default_factory=lambda: datetime.now(UTC))
    tenant_id: int

    def to_cloudevent(self, service: str) -> bytes:
        """The CloudEvents JSON, as `service` publishes it.

        `tenantid` is an extension attribute, everything else is in `data`.
        """
        return orjson.dumps(
            {
                "specversion": "1.0",
                "id": str(self.id),
                "source": source_of(service),
                "type": self.type,
                "time": self.time.isoformat(),
                "tenantid": str(self.tenant_id),
                "datacontenttype": "application/json",
                "data": self.model_dump(mode="json", exclude=set(_ENVELOPE_FIELDS)),
            }
        )

    @classmethod
    def wire_schema(cls) -> dict[str, Any]:
        """JSON schema of what `to_cloudevent` makes."""
        data = cls.model_json_schema()
        assert "$defs" not in data  # events are flat, so that a schema stands alone wherever it is put
        data["properties"] = {name: field for name, field in data["properties"].items() if name not in _ENVELOPE_FIELDS}
        data["required"] = [name for name in data["required"] if name not in _ENVELOPE_FIELDS]
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": cls.type,
            "description": data.pop("description"),
            "type": "object",
            "required": ["specversion", "id", "source", "type", "time", "tenantid", "datacontenttype", "data"],
            "properties": {
                "specversion": {"const": "1.0"},
                "id": {"type": "string", "format": "uuid"},
                "source": {"enum": [source_of(service) for service in cls.published_by]},
                "type": {"const": cls.type},
                "time": {"type": "string", "format": "date-time"},
                "tenantid": {"type": "string", "pattern": "^[0-9]+$"},
                "datacontenttype": {"const": "application/json"},
                "data": data,
            },
        }


def source_of(service: str) -> str:
    """The CloudEvents source of what `service` publishes."""
    return f"/docuchat/{_PART_NAMES.get(service, service)}"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a CloudEvents JSON says, before its type is looked up."""

    type: str
    source: str
    fields: dict[str, Any]


def open_envelope(body: bytes) -> Envelope:
    """Read a CloudEvents JSON `body`; MalformedEvent when it is none."""
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
        return Envelope(str(envelope["type"]), str(envelope["source"]), fields)
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, MalformedEvent):
            raise
        raise MalformedEvent("not a CloudEvents JSON object") from error
