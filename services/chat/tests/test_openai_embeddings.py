"""Embeddings in OpenAI's shape, of the service as a process: what is sent, what comes back, and what is booked."""

from __future__ import annotations

import base64
import sys
from typing import Any

import numpy as np
import pytest
import tiktoken

from docuchat_testkit.provider_rules import Rule

running = sys.modules["chat_running"]
PATH = "/v1/embeddings"
MODEL = "text-embedding-3-small"


@pytest.fixture
def stage_settings(stub_provider: Any) -> dict[str, str]:
    return {"EMBEDDING_BASE_URL": stub_provider.base_url, "EMBEDDING_API_KEY": "sk-embeddings"}


def vectors_of(body: dict[str, Any]) -> np.ndarray[Any, Any]:
    rows = [item["embedding"] for item in sorted(body["data"], key=lambda item: item["index"])]
    if isinstance(rows[0], str):
        return np.stack([np.frombuffer(base64.b64decode(row), "<f4") for row in rows])
    return np.asarray(rows, np.float32)


async def test_texts_and_their_tokens_have_the_same_vectors_and_each_request_is_booked_once(stage: Any) -> None:
    chat = await stage.start()
    texts = ["The warranty lasts two years.", "گارانتی دو سال است."]

    async def embed(given: Any, **fields: Any) -> dict[str, Any]:
        answer = await chat.http.post(PATH, json={"model": MODEL, "input": given, **fields}, headers=stage.headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    plain = await embed(texts)
    assert (plain["object"], plain["model"], [each["index"] for each in plain["data"]]) == ("list", MODEL, [0, 1])
    tokens = [tiktoken.get_encoding("cl100k_base").encode(text) for text in texts]
    others = [
        await embed(texts, encoding_format="base64"),
        await embed(tokens, encoding_format="base64", user="someone"),
        await embed(texts[0]),
        await embed(tokens[0]),
    ]
    for other in others:
        found = vectors_of(other)
        assert np.allclose(found, vectors_of(plain)[: len(found)], atol=1e-6)
    shorter = vectors_of(await embed(texts, dimensions=1200))
    beginnings = vectors_of(plain)[:, :1200]
    assert np.allclose(shorter, beginnings / np.linalg.norm(beginnings, axis=1, keepdims=True), atol=1e-5)

    events = await running.usage_events(stage.database)
    assert len(events) == 6 and {event.kind for event in events} == {"embedding"}
    for held in stage.holds.opened:
        assert {each["unit"] for each in held["amounts"]} == {"input_tokens", "requests"}
    assert sum(event.input_tokens for event in events) == stage.provider.counts().embedding_tokens
    assert plain["usage"] == {"prompt_tokens": events[0].input_tokens, "total_tokens": events[0].input_tokens}
    assert {call.key for call in stage.provider.calls()} == {"sk-embeddings"}


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"model": "text-embedding-ada-002"}, 404, "model"),
    ({"input": []}, 422, "input"),
    ({"input": ["fine", ""]}, 422, "input[1]"),
    ({"input": ["fine", 7]}, 422, "input[1]"),
    ({"input": {"text": "x"}}, 422, "input[0]"),
    ({"input": [[10**9]]}, 422, "input[0]"),
    ({"input": [-1]}, 422, "input[0]"),
    ({"input": "word " * 9000}, 422, "input[0]"),
    ({"input": ["word " * 8000] * 13}, 422, "input"),
    ({"input": ["x"] * 2049}, 422, "input"),
    ({"dimensions": 1537}, 422, "dimensions"),
    ({"truncate": True}, 422, "truncate"),
]


async def test_what_cannot_be_embedded_is_named_and_costs_nothing(stage: Any) -> None:
    chat = await stage.start()
    for fields, status, param in REFUSED:
        body = {"model": MODEL, "input": "fine", **fields}
        answer = await chat.http.post(PATH, json=body, headers=stage.headers)
        assert (answer.status_code, answer.json()["param"]) == (status, param), answer.text
    assert not stage.provider.calls() and not await running.usage_events(stage.database)


async def test_a_request_that_the_provider_refuses_is_not_booked_and_holds_nothing(stage: Any) -> None:
    chat = await stage.start()
    stage.provider.control(Rule(endpoint="embeddings", status=500))
    answer = await chat.http.post(PATH, json={"model": MODEL, "input": "fine"}, headers=stage.headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "provider_error")
    assert not await running.usage_events(stage.database)
    assert not stage.holds.open_ids


async def test_without_a_provider_the_embedded_model_embeds(stage: Any) -> None:
    for name in ("EMBEDDING_BASE_URL", "EMBEDDING_API_KEY"):
        del stage.environment[name]
    chat = await stage.start()
    body = {"model": "l2_supercat", "input": ["When are salaries paid?", "Salaries are paid monthly."]}
    answer = await chat.http.post(PATH, json=body, headers=stage.headers)
    assert answer.status_code == 200, answer.text
    vectors = vectors_of(answer.json())
    assert vectors.shape == (2, 256) and vectors[0] @ vectors[1] > 0.3
    (booked,) = await running.usage_events(stage.database)
    assert (booked.provider, booked.input_tokens) == ("wordllama", answer.json()["usage"]["prompt_tokens"])
