"""OpenAI's responses of the service as a process, asked by the official client: whole, streamed, followed, resumed."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import pytest_asyncio
from openai import AsyncOpenAI

from docuchat_testkit.provider_rules import Rule

running = sys.modules["chat_running"]
QUESTION = running.QUESTION
MODEL = "gpt-4o-mini"
PATH = "/v1/responses"


@pytest.fixture
def stage_settings(stage_settings: dict[str, str]) -> dict[str, str]:
    return stage_settings | {"OPENAI_MODEL": MODEL, "ALLOWED_MODELS": "gpt-4o"}


@pytest_asyncio.fixture
async def asked(stage: Any) -> AsyncIterator[tuple[Any, Any, AsyncOpenAI]]:
    """The stage, its one process, and the official client of that."""
    await stage.seed()
    chat = await stage.start()
    key = stage.headers["Authorization"].removeprefix("Bearer ")
    async with AsyncOpenAI(
        base_url=f"{chat.url}/v1", api_key=key, default_headers=stage.headers, max_retries=0
    ) as client:
        yield stage, chat, client


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The events of a stream, whose names are those in their data and whose numbers are their places."""
    events = []
    for block in body.split(b"\n\n")[:-1]:
        name, data = block.split(b"\n")
        events.append(orjson.loads(data.removeprefix(b"data: ")))
        assert name == b"event: " + events[-1]["type"].encode()
    return events


async def test_the_official_client_reads_whole_and_streamed_responses_with_their_citations(asked: Any) -> None:
    stage, _, client = asked
    whole = await client.responses.create(model=MODEL, input=QUESTION, metadata={"order": "7"}, temperature=0.5)
    assert whole.status == "completed" and "two years" in whole.output_text
    (item,) = whole.output
    annotation = item.content[0].annotations[0]
    assert annotation.type == "file_citation" and annotation.filename == "Handbook.pdf"
    assert whole.output_text[annotation.index :].startswith("[1]")
    more = annotation.model_extra
    assert more["page"] == 1 and more["quote"].startswith("The warranty of the motor lasts two years")
    assert (whole.metadata, whole.temperature, whole.instructions) == ({"order": "7"}, 0.5, None)
    (booked,) = await stage.events()
    assert whole.usage.input_tokens == booked.input_tokens and whole.usage.output_tokens == booked.output_tokens
    assert whole.usage.total_tokens == booked.input_tokens + booked.output_tokens

    async with client.responses.stream(model=MODEL, input=QUESTION) as stream:
        events = [event async for event in stream]
        final = await stream.get_final_response()
    assert [event.sequence_number for event in events] == list(range(len(events)))
    names = [event.type for event in events]
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert names == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        *["response.output_text.delta"] * len(deltas),
        *["response.output_text.annotation.added"] * len(item.content[0].annotations),
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert "".join(deltas) == final.output_text == whole.output_text
    assert final.output[0].content[0].annotations == item.content[0].annotations
    assert final.usage == whole.usage
    assert len(await stage.events()) == 2


async def test_a_response_goes_on_from_another_and_is_found_again(asked: Any) -> None:
    stage, _, client = asked
    first = await client.responses.create(
        model=MODEL,
        input=[{"role": "user", "content": [{"type": "input_text", "text": QUESTION}]}],
        instructions="Rhyme.",
    )
    second = await client.responses.create(
        model=MODEL, input="And how long is it for parcels?", previous_response_id=first.id
    )
    assert second.previous_response_id == first.id
    assert second.model_extra["docuchat"]["chat_id"] == first.model_extra["docuchat"]["chat_id"]
    lone = await client.responses.create(model=MODEL, input="And how long is it for parcels?")
    assert second.usage.input_tokens > lone.usage.input_tokens + len(QUESTION.split())
    wished = await client.responses.create(
        model=MODEL, input="And how long is it for parcels?", previous_response_id=first.id, instructions="Rhyme."
    )
    assert wished.usage.input_tokens > second.usage.input_tokens

    third = await client.responses.create(
        model=MODEL,
        input=[
            {"role": "user", "content": QUESTION},
            {"type": "item_reference", "id": first.output[0].id},
            {"role": "user", "content": "And how long is it for parcels?"},
        ],
    )
    assert third.model_extra["docuchat"]["chat_id"] == first.model_extra["docuchat"]["chat_id"]

    again = await client.responses.retrieve(second.id)
    assert again.to_dict() == second.to_dict()
    (question,) = (await client.responses.input_items.list(second.id)).data
    assert question.content[0].text == "And how long is it for parcels?"
    assert len(await stage.events()) == 5


async def test_a_stream_is_resumed_with_the_same_numbers_and_no_second_call(asked: Any) -> None:
    stage, chat, client = asked
    sent = await chat.http.post(PATH, json={"model": MODEL, "input": QUESTION, "stream": True}, headers=stage.headers)
    events = events_of(sent.content)
    name = events[0]["response"]["id"]
    for after in (None, 0, 3, 5, len(events) - 3, len(events) - 2):
        place = {} if after is None else {"starting_after": after}
        again = await chat.http.get(f"{PATH}/{name}", params={"stream": True, **place}, headers=stage.headers)
        assert events_of(again.content) == events[0 if after is None else after + 1 :]
        typed = [event async for event in await client.responses.retrieve(name, stream=True, **place)]
        assert [event.sequence_number for event in typed] == list(range(0 if after is None else after + 1, len(events)))
    another = await client.responses.create(model=MODEL, input=QUESTION)
    mixed = await chat.http.get(f"{PATH}/{name[:37]}{another.id[37:]}", headers=stage.headers)
    assert (mixed.status_code, mixed.json()["code"]) == (404, "response_not_found")
    assert len(await stage.events()) == 2


async def test_an_answer_in_the_background_is_asked_for_again_and_cancelled(asked: Any) -> None:
    stage, _, client = asked
    begun = await client.responses.create(model=MODEL, input=QUESTION, background=True)
    assert (begun.status, begun.background, begun.output) == ("in_progress", True, [])

    async def ended() -> None:
        assert (await client.responses.retrieve(begun.id)).status == "completed"

    await running.eventually(ended)
    assert "two years" in (await client.responses.retrieve(begun.id)).output_text
    assert (await client.responses.cancel(begun.id)).status == "completed"
    assert len(await stage.events()) == 1


async def test_a_running_answer_is_cancelled_and_what_was_written_is_kept_and_charged_once(asked: Any) -> None:
    stage, _, client = asked
    stage.provider.control(Rule(endpoint="chat", exact_tokens=900, rate=30))
    begun = await client.responses.create(model=MODEL, input=QUESTION, background=True)

    async with await client.responses.retrieve(begun.id, stream=True) as shown:
        async for event in shown:
            if event.type == "response.output_text.delta":
                break
    assert (await client.responses.retrieve(begun.id)).status == "in_progress"
    cancelled = await client.responses.cancel(begun.id)
    assert (cancelled.id, cancelled.status) == (begun.id, "cancelled")
    assert 0 < len(cancelled.output_text.split()) < 900
    kept = await client.responses.retrieve(begun.id)
    assert (kept.status, kept.output_text) == ("cancelled", cancelled.output_text)
    assert (await client.responses.cancel(begun.id)).status == "cancelled"
    follow_up = await client.responses.retrieve(begun.id, stream=True)
    assert [event.type async for event in follow_up][-1] == "response.incomplete"
    assert len(await stage.events()) == 1
    assert len([call for call in stage.provider.calls() if call.endpoint == "chat"]) == 1


async def test_a_lone_response_is_deleted_with_its_chat_and_one_of_a_longer_chat_is_not(asked: Any) -> None:
    stage, chat, client = asked
    lone = await client.responses.create(model=MODEL, input=QUESTION)
    deleted = await chat.http.delete(f"{PATH}/{lone.id}", headers=stage.headers)
    assert deleted.json() == {"id": lone.id, "object": "response.deleted", "deleted": True}
    assert (await chat.http.get(f"{PATH}/{lone.id}", headers=stage.headers)).json()["code"] == "response_not_found"
    body = {"model": MODEL, "input": QUESTION, "previous_response_id": lone.id}
    gone = await chat.http.post(PATH, json=body, headers=stage.headers)
    assert (gone.status_code, gone.json()["code"]) == (404, "previous_response_not_found")

    first = await client.responses.create(model=MODEL, input=QUESTION)
    second = await client.responses.create(model=MODEL, input=QUESTION, previous_response_id=first.id)
    mixed = await chat.http.get(f"{PATH}/{first.id[:-32]}{second.id[-32:]}", headers=stage.headers)
    assert (mixed.status_code, mixed.json()["code"]) == (404, "response_not_found"), "its name is of two responses"
    refused = await chat.http.delete(f"{PATH}/{first.id}", headers=stage.headers)
    assert (refused.status_code, refused.json()["code"]) == (409, "response_continued")


async def test_what_is_not_stored_is_neither_found_nor_followed(asked: Any) -> None:
    stage, chat, client = asked
    unkept = await client.responses.create(model=MODEL, input=QUESTION, store=False)
    assert unkept.status == "completed" and unkept.model_extra["store"] is False
    assert (await chat.http.get(f"{PATH}/{unkept.id}", headers=stage.headers)).status_code == 404
    body = {"model": MODEL, "input": QUESTION, "previous_response_id": unkept.id}
    gone = await chat.http.post(PATH, json=body, headers=stage.headers)
    assert (gone.status_code, gone.json()["code"]) == (404, "previous_response_not_found")
    assert len(await stage.events()) == 1


@pytest_asyncio.fixture
async def one_chat(stage: Any) -> tuple[Any, Any]:
    return stage, await stage.start()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"top_p": 0.5}, "top_p"),
        ({"text": {"format": {"type": "json_object"}}}, "text.format"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "file_search", "max_num_results": 3}]}, "tools[0].max_num_results"),
        ({"tools": [{"type": "file_search", "vector_store_ids": ["a", "b"]}]}, "tools[0].vector_store_ids"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"store": False, "background": True}, "background"),
        ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
    ],
)
async def test_what_is_not_supported_is_refused_by_its_name(one_chat: Any, fields: dict[str, Any], param: str) -> None:
    stage, chat = one_chat
    answer = await chat.http.post(PATH, json={"model": MODEL, "input": QUESTION, **fields}, headers=stage.headers)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["param"]) == ("unsupported_parameter", param)
    assert not stage.holds.opened
