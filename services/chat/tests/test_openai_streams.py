"""What streams to OpenAI's clients is what the document says, and what is refused late is what they raise."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from typing import Any

import httpx2
import jsonschema_rs
import openai
import orjson
import pytest
from services.chat.tests.test_responses import citation, events_of, stored

from docuchat_chat.app import create_app
from docuchat_chat.openai_api.completions import CompletionFrames
from docuchat_chat.openai_api.responses import Given
from docuchat_chat.openai_api.responses_events import ResponseEvents
from docuchat_chat.settings import Settings
from docuchat_chat.turns.domain import Question, TurnState
from docuchat_chat.turns.errors import AnswerInterrupted, TooBusy
from docuchat_common.ids import TurnId, uuid7
from docuchat_models.errors import ProviderInterrupted


def closed(schema: Any) -> Any:
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else {}
    return {name: closed(each) for name, each in schema.items()} | more


@cache
def validator(name: str) -> Any:
    schemas = deepcopy(create_app(Settings.model_construct()).openapi()["components"]["schemas"])
    document = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": closed(schemas)}}
    return jsonschema_rs.Draft202012Validator(document, validate_formats=True)


def data_of(body: bytes) -> list[Any]:
    told = [block.rpartition(b"data: ")[2] for block in body.split(b"\n\n")[:-1]]
    return [orjson.loads(data) for data in told if data != b"[DONE]"]


@pytest.mark.parametrize(
    ("reason", "state", "error_code"),
    [
        ("stop", TurnState.COMPLETED, None),
        ("length", TurnState.COMPLETED, None),
        ("content_filter", TurnState.COMPLETED, None),
        ("stopped", TurnState.STOPPED, None),
        ("error", TurnState.INTERRUPTED, AnswerInterrupted.code),
        ("error", TurnState.FAILED, "provider_error"),
    ],
)
async def test_each_event_of_a_response_fits_the_document(
    reason: str, state: TurnState, error_code: str | None
) -> None:
    events = await events_of(stored(reason, state, error_code, (citation(1), citation(2))))
    assert len(events) > 7
    for event in events:
        validator("ResponseEvent").validate(event)
        for broken in ({**event, "type": "response.other"}, {**event, "more": 1}, {**event, "sequence_number": "0"}):
            assert not validator("ResponseEvent").is_valid(broken), event["type"]


async def test_events_and_chunks_of_a_live_answer_fit_the_document(world: Any) -> None:
    for script, ended in (
        ([["Two years [1].", "stop"]], "response.completed"),
        ([["Two years ", ProviderInterrupted()]], "response.failed"),
    ):
        world.model.scripts = [*script, *script]
        answering = await world.asking.ask(world.caller, Question("How long is the warranty?"))
        events = data_of(b"".join([each async for each in ResponseEvents(Given(model="m")).of(answering)]))
        assert events[-1]["type"] == ended
        for event in events:
            validator("ResponseEvent").validate(event)
        for include_usage in (False, True):
            frames = CompletionFrames("m", include_usage=include_usage, ends_with_reader=False)
            chunks = data_of(b"".join([each async for each in frames.of(answering)]))
            assert ("error" in chunks[-1]) is (ended == "response.failed")
            for chunk in chunks:
                validator("ChatCompletionEvent").validate(chunk)
                assert not validator("ChatCompletionEvent").is_valid({**chunk, "more": 1})


def client_of(body: bytes) -> openai.AsyncOpenAI:
    """The official client of a service that answers everything by this stream."""

    def answer(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, content=body, headers={"Content-Type": "text/event-stream"})

    http = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
    return openai.AsyncOpenAI(base_url="http://docuchat.example/v1", api_key="k", http_client=http, max_retries=0)


async def test_a_late_refusal_is_what_the_official_client_raises() -> None:
    body = ResponseEvents(Given()).of_refusal(TurnId(uuid7()), TooBusy())
    (told,) = data_of(body)
    validator("ResponseEvent").validate(told)
    assert {name: told[name] for name in ("code", "message", "param")} == {
        name: told["error"][name] for name in ("code", "message", "param")
    }
    async with client_of(body) as client:
        with pytest.raises(openai.APIError, match=TooBusy().detail) as raised:
            [event async for event in await client.responses.create(model="m", input="?", stream=True)]
        assert (raised.value.code, raised.value.param) == ("too_busy", None)
        with pytest.raises(openai.APIError, match=TooBusy().detail):
            async with client.responses.stream(model="m", input="?") as stream:
                await stream.get_final_response()

    body = CompletionFrames("m", include_usage=False, ends_with_reader=False).of_refusal(TurnId(uuid7()), TooBusy())
    (told,) = data_of(body)
    validator("ChatCompletionEvent").validate(told)
    async with client_of(body) as client:
        with pytest.raises(openai.APIError, match=TooBusy().detail) as raised:
            question: Any = {"role": "user", "content": "?"}
            [chunk async for chunk in await client.chat.completions.create(model="m", messages=[question], stream=True)]
        assert raised.value.code == "too_busy"
