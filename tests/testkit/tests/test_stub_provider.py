"""The stub provider as the official SDK sees it, and its books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import httpx2
import numpy as np
import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from docuchat_testkit.eventually import eventually
from docuchat_testkit.provider_answers import answer_text, count_prompt_tokens, count_tokens, encoding_for
from docuchat_testkit.provider_process import StubProviderHandle, running_stub_provider
from docuchat_testkit.provider_rules import Rule

PROMPT: list[ChatCompletionMessageParam] = [
    {
        "role": "system",
        "content": "Answer from the sources.\n\n[1] Guide, page 3\nThe pump needs oil every 200 hours of work. It is "
        "blue.\n\n[2] Guide, page 9\nThe warranty lasts for two years from the day of purchase. Keep the bill.",
    },
    {"role": "user", "content": "How long does the warranty last?"},
]
ENCODING = encoding_for("gpt-4o-mini")


@pytest.fixture
async def client(stub_provider: StubProviderHandle) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(api_key="sk-one", base_url=stub_provider.base_url, max_retries=0) as sdk:
        yield sdk


async def read_stream(
    client: openai.AsyncOpenAI, **options: object
) -> tuple[list[str], openai.types.CompletionUsage | None, str]:
    pieces: list[str] = []
    usage, finish = None, ""
    stream = await client.chat.completions.create(
        model="gpt-4o-mini",
        messages=PROMPT,
        stream=True,
        stream_options={"include_usage": True},
        **options,  # type: ignore[call-overload]
    )
    async for chunk in stream:
        usage = chunk.usage or usage
        for choice in chunk.choices:
            finish = choice.finish_reason or finish
            if choice.delta.content:
                pieces.append(choice.delta.content)
    return pieces, usage, finish


async def test_streams_a_cited_answer_with_a_usage_frame(
    client: openai.AsyncOpenAI, stub_provider: StubProviderHandle
) -> None:
    pieces, usage, finish = await read_stream(client, user="user-7")

    text = "".join(pieces)
    assert "two years" in text and "[2]" in text and finish == "stop"
    assert usage is not None
    assert usage.completion_tokens == count_tokens(text, ENCODING) == len(pieces)
    assert usage.prompt_tokens == count_prompt_tokens(PROMPT, ENCODING)
    counts = stub_provider.counts()
    assert (counts.prompt_tokens, counts.completion_tokens) == (usage.prompt_tokens, usage.completion_tokens)
    assert counts.by_key["sk-one"].calls == counts.by_user["user-7"].calls == 1


def test_finds_sources_and_question_in_one_message() -> None:
    content = (
        "<sources>\n[1] (Guide, page 3)\nThe pump needs oil every 200 hours of work.\n[2] (Guide, pages 9-10)\n"
        "The warranty lasts for two years.\n</sources>\n\nQuestion:\nHow long is the warranty?"
    )

    assert answer_text([{"role": "user", "content": content}]) == "The warranty lasts for two years. [2]"


async def test_same_answer_without_streaming(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT)
    pieces, usage, _ = await read_stream(client)

    assert whole.choices[0].message.content == "".join(pieces)
    assert whole.usage is not None and usage is not None and whole.usage.total_tokens == usage.total_tokens


@pytest.mark.parametrize("option", ["max_tokens", "max_completion_tokens"])
async def test_honours_token_limits(client: openai.AsyncOpenAI, option: str) -> None:
    pieces, usage, finish = await read_stream(client, **{option: 5})

    assert len(pieces) == 5 and finish == "length"
    assert usage is not None and usage.completion_tokens == 5


async def test_exact_length_and_canonical_prefixes(
    client: openai.AsyncOpenAI, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(exact_tokens=150))

    pieces, usage, _ = await read_stream(client)

    assert usage is not None and usage.completion_tokens == 150
    assert all(count_tokens("".join(pieces[:k]), ENCODING) == k for k in range(1, 151))


async def test_refuses_the_nth_call_with_retry_after(
    client: openai.AsyncOpenAI, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(
        Rule(contains="warranty", nth=(2,), status=429, retry_after=3), Rule(model="other", status=500)
    )

    await read_stream(client)
    with pytest.raises(openai.RateLimitError) as refused:
        await read_stream(client)
    await read_stream(client)
    with pytest.raises(openai.InternalServerError):
        await client.chat.completions.create(model="other", messages=[{"role": "user", "content": "Hello"}])

    assert refused.value.response.headers["retry-after"] == "3"
    counts = stub_provider.counts()
    assert (counts.calls, counts.rejected) == (4, 2)
    assert [call.outcome for call in stub_provider.calls()] == ["stop", "rejected", "stop", "rejected"]


async def test_a_cut_stream_is_counted_to_the_token(
    client: openai.AsyncOpenAI, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(exact_tokens=100, cut_after=37))
    received: list[str] = []

    stream = await client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    with pytest.raises((httpx2.HTTPError, openai.APIError)):
        async for chunk in stream:
            received += [choice.delta.content for choice in chunk.choices if choice.delta.content]

    [call] = stub_provider.calls()
    assert len(received) == call.completion_tokens == 37
    assert call.outcome == "cut" and not call.usage_sent


async def test_a_cancelled_paced_stream_is_counted_as_sent(
    client: openai.AsyncOpenAI, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(exact_tokens=1000, rate=50))
    received = 0

    stream = await client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
    async for chunk in stream:
        received += sum(1 for choice in chunk.choices if choice.delta.content)
        if received == 10:
            break
    await stream.close()

    async def cancelled() -> None:
        assert stub_provider.calls()[0].outcome == "cancelled"

    await eventually(cancelled)
    assert received <= stub_provider.counts().completion_tokens <= received + 2


async def test_stalls_until_hung_up(client: openai.AsyncOpenAI, stub_provider: StubProviderHandle) -> None:
    stub_provider.control(Rule(exact_tokens=100, stall_after=4))
    received: list[str] = []

    async def read() -> None:
        stream = await client.chat.completions.create(model="gpt-4o-mini", messages=PROMPT, stream=True)
        async for chunk in stream:
            received.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), 0.5)
    assert len(received) == 4


async def test_a_malformed_frame(client: openai.AsyncOpenAI, stub_provider: StubProviderHandle) -> None:
    stub_provider.control(Rule(malformed_after=2))

    with pytest.raises(Exception, match=r"(?i)json|unterminated|delimiter|parse"):
        await read_stream(client)


async def test_paces_tokens_and_can_withhold_usage(
    client: openai.AsyncOpenAI, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(exact_tokens=20, rate=50, usage_frame=False))

    begun = time.perf_counter()
    pieces, usage, _ = await read_stream(client)

    assert len(pieces) == 20 and usage is None
    assert time.perf_counter() - begun >= 19 / 50
    assert stub_provider.counts().completion_tokens == 20


async def test_embeddings_reflect_shared_words(client: openai.AsyncOpenAI, stub_provider: StubProviderHandle) -> None:
    texts = ["the warranty lasts two years", "how long does the warranty last", "bananas grow in tropical climates"]

    packed = await client.embeddings.create(model="text-embedding-3-small", input=texts)
    plain = await client.embeddings.create(model="text-embedding-3-small", input=texts[0], encoding_format="float")
    short = await client.embeddings.create(model="text-embedding-3-small", input=texts[0], dimensions=256)

    vectors = np.array([item.embedding for item in packed.data])
    assert vectors.shape == (3, 1536) and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
    assert np.allclose(vectors[0], plain.data[0].embedding, atol=1e-6)
    assert len(short.data[0].embedding) == 256
    tokens = packed.usage.total_tokens + plain.usage.total_tokens + short.usage.total_tokens
    assert stub_provider.counts().embedding_tokens == tokens


async def test_arabic_and_persian_letters_meet(client: openai.AsyncOpenAI) -> None:
    made = await client.embeddings.create(model="text-embedding-3-small", input=["كتاب می‌خوانم", "کتاب میخوانم"])

    assert np.allclose(made.data[0].embedding, made.data[1].embedding)


async def test_refuses_a_call_without_a_key(stub_provider: StubProviderHandle) -> None:
    async with httpx2.AsyncClient(base_url=stub_provider.url) as http:
        answer = await http.post("/v1/embeddings", json={"model": "m", "input": "x"})
        unknown = await http.get("/v1/nothing")

    assert answer.status_code == 401 and unknown.status_code == 404


def test_ends_with_the_process_that_started_it() -> None:
    with running_stub_provider() as provider:
        assert provider.counts().calls == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{provider.url}/healthz", timeout=2)
