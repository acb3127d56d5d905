"""The catalogue as others see it: the committed schemas are the contract, and only compatible changes pass."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args, get_origin
from uuid import UUID, uuid4

import jsonschema_rs
import pytest
from pydantic import AwareDatetime, NonNegativeInt, PositiveInt

import docuchat_common.events
from docuchat_common.events.asyncapi import asyncapi_document
from docuchat_common.events.catalogue import BY_TYPE, CATALOGUE, UsageRecorded, json_schemas, parse_event
from docuchat_common.events.envelope import Event, MalformedEvent
from docuchat_common.ids import uuid7
from docuchat_common.messaging.topology import streamed_types

SCHEMAS = Path(docuchat_common.events.__file__).parent / "schemas"


def _usage() -> UsageRecorded:
    return UsageRecorded(
        tenant_id=1,
        kind="chat",
        provider="openai",
        model="gpt-4o-mini",
        input_tokens=3,
        output_tokens=4,
        estimated=False,
    )


def incompatibilities(committed: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """What subscribers written against `committed` would trip over in `current`."""
    found = [f"{name} is gone" for name in committed["properties"].keys() - current["properties"].keys()]
    found += [
        f"{name} is newly required" for name in set(current.get("required", [])) - set(committed.get("required", []))
    ]
    found += [
        f"{name} is no longer always there"
        for name in set(committed.get("required", [])) - set(current.get("required", []))
    ]
    for name in committed["properties"].keys() & current["properties"].keys():
        ignored = {"description", "default", "title", "examples"}
        before, now = (
            {key: value for key, value in schema["properties"][name].items() if key not in ignored}
            for schema in (committed, current)
        )
        if before != now:
            found.append(f"{name} changed from {before} to {now}")
    return found


def data_schema(schema: dict[str, Any]) -> dict[str, Any]:
    return dict(schema["properties"]["data"])


@pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.type)
def test_an_event_stays_compatible_with_its_committed_schema(event: type[Event]) -> None:
    committed = json.loads((SCHEMAS / f"{event.type}.json").read_text())
    assert incompatibilities(data_schema(committed), data_schema(event.wire_schema())) == []
    assert set(committed["properties"]["source"]["enum"]) <= set(event.wire_schema()["properties"]["source"]["enum"])


def test_the_compatibility_check_notices_each_kind_of_break() -> None:
    committed = data_schema(UsageRecorded.wire_schema())
    gone = json.loads(json.dumps(committed))
    del gone["properties"]["model"]
    retyped = json.loads(json.dumps(committed))
    retyped["properties"]["model"] = {"type": "integer"}
    required = json.loads(json.dumps(committed))
    required["required"].append("hold_id")
    assert [bool(incompatibilities(committed, changed)) for changed in (gone, retyped, required)] == [True, True, True]


def test_committed_schemas_and_asyncapi_are_fresh_and_complete() -> None:
    assert {path.stem for path in SCHEMAS.glob("*.v*.json")} == set(json_schemas())
    assert json.loads((SCHEMAS / "asyncapi.json").read_text()) == asyncapi_document()


@pytest.mark.parametrize("event", CATALOGUE, ids=lambda event: event.type)
def test_a_published_event_fits_its_published_schema(event: type[Event]) -> None:
    validator = jsonschema_rs.validator_for(
        json.loads((SCHEMAS / f"{event.type}.json").read_text()), validate_formats=True
    )
    made = any_of(event)
    for service in event.published_by:
        validator.validate(json.loads(made.to_cloudevent(service)))
    envelope = json.loads(made.to_cloudevent(event.published_by[0]))
    for broken in (envelope | {"source": "/docuchat/nobody"}, envelope | {"data": {}}, envelope | {"id": "x"}):
        if broken != envelope:
            assert not validator.is_valid(broken)


def any_of(event: type[Event]) -> Event:
    """An event of this type whose required fields are filled with something of their kind."""
    samples = {
        UUID: uuid7(), UUID | None: None, int: 1, str: "x", bool: True, float: 1.0, AwareDatetime: datetime.now(UTC),
        str | None: None, PositiveInt | None: None, dict[str, NonNegativeInt]: {"x": 1}, dict[str, str]: {"x": "y"},
        tuple[UUID, ...]: (uuid7(),),
    }  # fmt: skip
    given = {}
    for name, field in event.model_fields.items():
        if field.is_required():
            kind = field.annotation
            given[name] = get_args(kind)[0] if get_origin(kind) is Literal else samples[kind]
    return event.model_validate(given)


class TestAsyncAPI:
    document: ClassVar[dict[str, Any]] = asyncapi_document()

    def test_says_where_and_with_what_login_and_has_an_operation_for_each_channel(self) -> None:
        assert self.document["asyncapi"] == "3.1.0"
        (server,) = self.document["servers"].values()
        assert server["protocol"] == "amqp"
        assert server["security"] == [{"$ref": "#/components/securitySchemes/login"}]
        used = {operation["channel"]["$ref"].rpartition("/")[2] for operation in self.document["operations"].values()}
        assert used == set(self.document["channels"]) == set(BY_TYPE) | {"usage-stream"}
        assert set(self.document["channels"]["usage-stream"]["messages"]) == set(streamed_types())

    def test_every_reference_leads_somewhere(self) -> None:
        for reference in references(self.document):
            place: Any = self.document
            for step in reference.removeprefix("#/").split("/"):
                place = place[step]
            assert place

    def test_every_payload_is_a_valid_schema(self) -> None:
        for message in self.document["components"]["messages"].values():
            jsonschema_rs.meta.validate(message["payload"])


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def test_an_event_survives_the_wire() -> None:
    event = _usage()
    assert parse_event(event.to_cloudevent("chat")) == event


def test_the_envelope_is_cloudevents() -> None:
    envelope = json.loads(_usage().to_cloudevent("chat"))
    assert envelope["specversion"] == "1.0"
    assert envelope["type"] == "usage.recorded.v1"
    assert envelope["tenantid"] == "1"
    assert not {"id", "time", "tenant_id"} & envelope["data"].keys()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"specversion":"0.3"}',
        _usage().to_cloudevent("chat").replace(b"usage.recorded", b"no.such"),
    ],
)
def test_what_is_no_event_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        parse_event(body)


def test_an_unknown_optional_field_is_ignored_and_a_bad_one_is_refused() -> None:
    envelope = json.loads(_usage().to_cloudevent("chat"))
    envelope["data"]["added_later"] = 1
    assert isinstance(parse_event(json.dumps(envelope).encode()), UsageRecorded)
    envelope["data"]["input_tokens"] = -1
    with pytest.raises(MalformedEvent, match="input_tokens"):
        parse_event(json.dumps(envelope).encode())


def test_types_are_unique_and_ids_sort_by_time() -> None:
    assert len(BY_TYPE) == len(CATALOGUE)
    ids = [uuid7() for _ in range(1000)]
    assert ids == sorted(ids)
    assert uuid4() not in ids


def test_the_guide_has_a_row_for_every_event() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "events.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z.]+\.v\d+)` \| ([^|]+) \|", guide, re.MULTILINE))
    streamed = {kind for kind, publishers in rows.items() if publishers.endswith("(in the stream, too)")}
    assert rows.keys() == BY_TYPE.keys() and streamed == set(streamed_types())
    for kind, publishers in rows.items():
        assert publishers.partition(" (")[0] == ", ".join(BY_TYPE[kind].published_by), kind
