import asyncio
import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import numpy as np
import pytest
from openai import AsyncOpenAI
from redis.asyncio import Redis

from docuchat_common.errors import RateLimited, UpstreamUnavailable
from docuchat_models.errors import EmbeddingRefused
from docuchat_models.openai_embeddings import OpenAIEmbedder
from docuchat_models.opening import open_embedder
from docuchat_models.providers import provider_name, read_retry_after
from docuchat_models.settings import EmbeddingSettings
from docuchat_models.spaces import EmbeddingSpace
from docuchat_models.throttle import NoThrottle, RedisThrottle
from docuchat_models.tokens import TokenCounter
from docuchat_models.wordllama import WordLlamaEmbedder


class Provider:
    """Answers embedding requests; `replies` are given first, then vectors that name their text."""

    def __init__(self, *replies: httpx.Response | Exception) -> None:
        self.replies = list(replies)
        self.requests: list[dict] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        import json

        body = json.loads(request.content)
        self.requests.append(body)
        if self.replies:
            reply = self.replies.pop(0)
            if isinstance(reply, httpx.Response):
                return reply
            raise reply
        data = [
            {"index": index, "embedding": base64.b64encode(np.array([len(text), 1, 0], "<f4").tobytes()).decode()}
            for index, text in enumerate(body["input"])
        ]
        return httpx.Response(200, json={"data": data[::-1], "usage": {"prompt_tokens": 7 * len(data)}})

    def embedder(self, throttle: RedisThrottle | NoThrottle | None = None, **options: object) -> OpenAIEmbedder:
        client = AsyncOpenAI(
            api_key="test",
            base_url="http://provider.test/v1",
            max_retries=0,
            http_client=httpx.AsyncClient(transport=httpx.MockTransport(self)),
        )
        space = EmbeddingSpace("test", "m", 3)
        return OpenAIEmbedder(client, space, throttle or NoThrottle(), **options)  # type: ignore[arg-type]


async def test_vectors_come_in_the_order_of_the_texts_and_have_unit_length():
    batch = await Provider().embedder().embed(["aaaa", "b"])
    assert np.allclose(batch.vectors, [[4 / 17**0.5, 1 / 17**0.5, 0], [2**-0.5, 2**-0.5, 0]])
    assert batch.vectors.dtype == np.float32
    assert (batch.tokens, batch.estimated) == (14, False)


async def test_requests_stay_within_the_providers_limits():
    provider = Provider()
    batch = await provider.embedder().embed(["x"] * 5000)
    assert [len(request["input"]) for request in provider.requests] == [2048, 2048, 904]
    assert provider.requests[0]["encoding_format"] == "base64"
    assert "dimensions" not in provider.requests[0]
    assert batch.vectors.shape == (5000, 3)


async def test_tokens_are_counted_here_when_the_provider_does_not_say():
    reply = httpx.Response(200, json={"data": [{"index": 0, "embedding": [1.0, 0.0, 0.0]}]})
    batch = await Provider(reply).embedder().embed(["two words"])
    assert (batch.tokens, batch.estimated) == (2, True)


async def test_a_limit_of_the_provider_holds_all_workers_back(redis_url):
    async with Redis.from_url(redis_url) as redis:
        first = Provider(httpx.Response(429, headers={"retry-after": "30"}, json={"error": {"message": "slow"}}))
        second = Provider()
        with pytest.raises(RateLimited) as limited:
            await first.embedder(RedisThrottle(redis, account="a")).embed(["x"])
        assert limited.value.retry_after == timedelta(seconds=30)
        with pytest.raises(RateLimited) as held:
            await second.embedder(RedisThrottle(redis, account="a")).embed(["x"])
        assert timedelta(seconds=20) < held.value.retry_after <= timedelta(seconds=30)
        assert second.requests == []
        await second.embedder(RedisThrottle(redis, account="b")).embed(["x"])


async def test_a_longer_pause_stays_and_a_short_one_is_sat_out(redis_url):
    async with Redis.from_url(redis_url) as redis:
        throttle = RedisThrottle(redis, account="a")
        await throttle.pause(timedelta(milliseconds=80))
        await throttle.pause(timedelta(milliseconds=1))
        assert await throttle.remaining_pause() > timedelta(milliseconds=1)
        provider = Provider()
        await provider.embedder(throttle).embed(["x"])
        assert await throttle.remaining_pause() == timedelta(0)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (httpx.Response(500, json={}), UpstreamUnavailable),
        (httpx.Response(503, json={}), UpstreamUnavailable),
        (httpx.Response(400, json={"error": {"message": "no"}}), EmbeddingRefused),
        (httpx.Response(401, json={"error": {"message": "no"}}), EmbeddingRefused),
        (httpx.Response(429, json={"error": {"code": "insufficient_quota"}}), EmbeddingRefused),
        (httpx.Response(200, text="<html>"), UpstreamUnavailable),
        (httpx.Response(200, json={"data": []}), UpstreamUnavailable),
        (httpx.Response(200, json={"data": [{"index": 0, "embedding": [1.0, 2.0]}]}), EmbeddingRefused),
        (httpx.ConnectError("refused"), UpstreamUnavailable),
        (httpx.ReadTimeout("slow"), UpstreamUnavailable),
    ],
)
async def test_each_failure_of_the_provider_has_its_meaning(reply, error):
    provider = Provider(reply)
    with pytest.raises(error):
        await provider.embedder().embed(["x"])
    assert len(provider.requests) == 1


def test_retry_after_is_read_in_all_its_forms():
    assert read_retry_after({"retry-after-ms": "1500"}) == timedelta(seconds=1.5)
    assert read_retry_after({"retry-after": "3"}) == timedelta(seconds=3)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert timedelta(seconds=50) < (read_retry_after({"retry-after": date}) or timedelta(0)) <= timedelta(seconds=60)
    assert read_retry_after({"retry-after": "soon"}) is None
    assert read_retry_after({}) is None


async def test_wordllama_works_without_a_network_and_counts_tokens():
    async with open_embedder(EmbeddingSettings(openai_api_key=None)) as embedder:
        assert isinstance(embedder, WordLlamaEmbedder)
        many = await embedder.embed(["A cat sat on the mat.", "Stock prices fell.", "", "The kitten sleeps."])
        one = await embedder.embed(["A cat sat on the mat."])
        assert (await embedder.embed([])).vectors.shape == (0, 256)
    assert many.vectors.shape == (4, 256)
    assert np.allclose(many.vectors[0], one.vectors[0], atol=1e-6)
    assert many.vectors[0] @ many.vectors[3] > many.vectors[0] @ many.vectors[1]
    assert not many.vectors[2].any()
    assert many.tokens > one.tokens > 5


async def test_wordllama_leaves_the_event_loop_free():
    async with open_embedder(EmbeddingSettings(openai_api_key=None)) as embedder:
        embedding = asyncio.create_task(embedder.embed(["some words of a chunk " * 60] * 1000))
        turns = 0
        while not embedding.done():
            await asyncio.sleep(0)
            turns += 1
    assert turns > 5


def test_the_key_decides_for_the_provider_and_empty_means_none():
    assert not EmbeddingSettings(openai_api_key="").embeds_with_openai
    assert EmbeddingSettings(openai_api_key="sk-x").embeds_with_openai
    assert not EmbeddingSettings(openai_api_key="sk-x", embedding_provider="wordllama").embeds_with_openai
    assert provider_name("https://api.openai.com/v1") == "openai"
    assert provider_name("http://localhost:11434/v1") == "localhost"


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4", "text-embedding-3-small", "accounts/fireworks/models/llama"])
def test_tokens_are_counted_and_cut(model):
    counter = TokenCounter.for_model(model)
    text = "سلام دنیا! Hello world 👋🏽 <|endoftext|> " * 20
    total = counter.count(text)
    assert counter.count_all([text, ""]) == [total, 0]
    for limit in (0, 1, 7, total - 1):
        cut = counter.truncate(text, limit)
        assert text.startswith(cut)
        assert counter.count(cut) <= limit
    assert counter.truncate(text, total) == text
