"""OpenAI's chat completions of the service as a process: whole and streamed, by users and by chatbots' keys."""

from __future__ import annotations

import sys
from typing import Any

import orjson
import pytest

running = sys.modules["chat_running"]
QUESTION = running.QUESTION
PATH = "/v1/chat/completions"


@pytest.fixture
def stage_settings(stage_settings: dict[str, str]) -> dict[str, str]:
    return stage_settings | {"OPENAI_MODEL": "gpt-4o-mini", "ALLOWED_MODELS": "gpt-4o"}


def asked(content: Any = QUESTION, **fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": content}], **fields}


def chunks_of(body: bytes) -> list[dict[str, Any]]:
    *events, done, nothing = body.split(b"\n\n")
    assert (done, nothing) == (b"data: [DONE]", b"")
    return [orjson.loads(event.removeprefix(b"data: ")) for event in events]


async def test_whole_and_streamed_completions_say_the_same_and_are_booked_once_each(stage: Any) -> None:
    await stage.seed()
    chat = await stage.start()

    whole = await chat.http.post(PATH, json=asked(), headers=stage.headers)
    assert whole.status_code == 200, whole.text
    body = whole.json()
    (choice,) = body["choices"]
    assert "two years" in choice["message"]["content"] and choice["finish_reason"] == "stop"
    assert body["docuchat"]["citations"][0]["quote"].startswith("The warranty of the motor lasts two years")
    (booked,) = await stage.events()
    assert body["usage"] == {
        "prompt_tokens": booked.input_tokens,
        "completion_tokens": booked.output_tokens,
        "total_tokens": booked.input_tokens + booked.output_tokens,
    }

    options = {"stream": True, "stream_options": {"include_usage": True}}
    streamed = await chat.http.post(PATH, json=asked(**options), headers=stage.headers)
    first, *deltas, last, usage = chunks_of(streamed.content)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in deltas) == choice["message"]["content"]
    assert all(chunk["usage"] is None for chunk in (first, *deltas, last))
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert last["docuchat"]["citations"] == body["docuchat"]["citations"]
    assert (usage["choices"], usage["usage"]) == ([], body["usage"])
    assert {chunk["id"] for chunk in (first, *deltas, last, usage)} == {
        f"chatcmpl-{streamed.headers['x-turn-id'].replace('-', '')}"
    }
    assert len(await stage.events()) == 2

    plain = chunks_of((await chat.http.post(PATH, json=asked(stream=True), headers=stage.headers)).content)
    assert plain[-1]["choices"][0]["finish_reason"] == "stop" and all("usage" not in chunk for chunk in plain)


UNSUPPORTED: list[tuple[dict[str, Any], str]] = [
    ({"n": 2}, "n"),
    ({"top_p": 0.5}, "top_p"),
    ({"tools": [{"type": "function"}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"response_format": {"type": "json_object"}}, "response_format"),
    ({"logprobs": True}, "logprobs"),
    ({"stop": ["\n"]}, "stop"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"web_search_options": {}}, "web_search_options"),
    ({"stream_options": {"include_obfuscation": True}}, "include_obfuscation"),
    ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "1"}]}, "messages[0].role"),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.y"}}]}]},
        "messages[0].content[0].type",
    ),
    (
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": "1"}]},
                {"role": "user", "content": "And now?"},
            ]
        },
        "messages[0].tool_calls",
    ),
    ({"store": False, "docuchat": {"session_id": "s"}}, "docuchat.session_id"),
]


async def test_what_is_not_supported_is_refused_by_its_name(stage: Any) -> None:
    chat = await stage.start()
    for fields, param in UNSUPPORTED:
        answer = await chat.http.post(PATH, json=asked(**fields), headers=stage.headers)
        assert answer.status_code == 422, answer.text
        assert (answer.json()["code"], answer.json()["param"]) == ("unsupported_parameter", param)
    assert not stage.holds.opened
    harmless = {
        "n": 1,
        "top_p": 1.0,
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "stop": None,
    }
    taken = await chat.http.post(
        PATH, json=asked(**harmless, seed=7, user="u", metadata={"a": "b"}), headers=stage.headers
    )
    assert taken.status_code == 200, taken.text
