import asyncio
import base64
import gzip
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import numpy as np
import pytest

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.settings import load_settings
from docuchat_models import openai_client
from docuchat_models.errors import (
    Cost,
    EmbeddingInvalid,
    EmbeddingRefused,
    ProviderError,
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
    billed,
)
from docuchat_models.openai_embeddings import OpenAIEmbedder
from docuchat_models.opening import find_space, open_embedder
from docuchat_models.providers import provider_name, read_retry_after
from docuchat_models.settings import EmbeddingSettings
from docuchat_models.spaces import EmbeddingSpace
from docuchat_models.throttle import NoThrottle
from docuchat_models.tokens import TokenCounter
from docuchat_models.wordllama import WordLlamaEmbedder

from .fakes import Provider


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


async def test_a_longer_text_than_the_provider_takes_is_cut_to_that_length_and_no_more_is_counted():
    provider = Provider(
        httpx2.Response(200, json={"data": [{"index": index, "embedding": [1.0, 0.0, 0.0]} for index in range(2)]})
    )
    batch = await provider.embedder().embed(["word " * 10_000, ""])
    (request,) = provider.requests
    counter = TokenCounter.for_model("m")
    assert [counter.count(text) for text in request["input"]] == [8_191, 1]
    assert (batch.tokens, batch.estimated) == (8_192, True)


async def test_tokens_are_counted_here_when_the_provider_does_not_say():
    reply = httpx2.Response(200, json={"data": [{"index": 0, "embedding": [1.0, 0.0, 0.0]}]})
    batch = await Provider(reply).embedder().embed(["two words"])
    assert (batch.tokens, batch.estimated) == (2, True)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (httpx2.Response(500, json={}), UpstreamUnavailable),
        (httpx2.Response(503, json={}), UpstreamUnavailable),
        (httpx2.Response(400, json={"error": {"message": "no"}}), EmbeddingRefused),
        (httpx2.Response(401, json={"error": {"message": "no"}}), ProviderRefused),
        (httpx2.Response(404, json={"error": {"message": "no"}}), ProviderRefused),
        (httpx2.Response(429, json={"error": {"code": "insufficient_quota"}}), ProviderRefused),
        (httpx2.Response(200, text="<html>"), UpstreamUnavailable),
        (httpx2.Response(200, json={"data": []}), UpstreamUnavailable),
        (httpx2.Response(200, json={"data": [{"index": 0, "embedding": [1.0, 2.0]}]}), EmbeddingRefused),
        (httpx2.ConnectError("refused"), UpstreamUnavailable),
        (httpx2.ReadTimeout("slow"), UpstreamUnavailable),
    ],
)
async def test_each_failure_of_the_provider_has_its_meaning(reply, error):
    provider = Provider(reply)
    with pytest.raises(error) as raised:
        await provider.embedder().embed(["x"])
    assert isinstance(raised.value, UpstreamUnavailable)
    assert len(provider.requests) == 1


VECTOR = {"index": 0, "embedding": [1.0, 0.0, 0.0]}
SHORT = {"index": 0, "embedding": [1.0, 0.0]}
ZERO = {"index": 0, "embedding": [0.0, 0.0, 0.0]}


def said(*data: object, tokens: int | None = 30) -> httpx2.Response:
    usage = {} if tokens is None else {"usage": {"prompt_tokens": tokens}}
    return httpx2.Response(200, json={"data": data, **usage})


FAILED = httpx2.Response(500, json={})
DROPPED = httpx2.ReadError("gone")


@pytest.mark.parametrize(
    ("replies", "booked", "estimated"),
    [
        ([httpx2.Response(429, json={})], None, None),
        ([FAILED], None, None),
        ([httpx2.Response(400, json={})], None, None),
        ([httpx2.Response(200, text="<html>")], 2, True),
        ([said({"index": 0})], 30, False),
        ([said(SHORT)], 30, False),
        ([said()], 30, False),
        ([said(VECTOR, {"index": 1, "embedding": [1.0]})], 30, False),
        ([said(SHORT, tokens=10**15)], 2, True),
        ([said(ZERO), said(ZERO)], 60, False),
        ([said(ZERO, tokens=None), said(ZERO)], 4, True),
        ([said(ZERO), FAILED], 30, False),
        ([said(ZERO), DROPPED], 4, True),
        ([DROPPED], 2, True),
        ([httpx2.ReadTimeout("slow")], 2, True),
    ],
)
async def test_what_a_provider_answered_or_may_have_done_is_billed(replies, booked, estimated):
    """A7, B10: only what never left, or was answered with an error status, is free."""
    provider = Provider(*replies)
    with pytest.raises(ProviderError) as raised:
        await provider.embedder().embed(["two words"])
    used = billed(raised.value, 99)
    assert (used and used.input_tokens, used and used.estimated) == (booked, estimated)
    assert len(provider.requests) == len(replies), "a wrong shape is a matter of settings: nothing is asked twice"


@pytest.mark.parametrize(
    ("error", "booked"),
    [
        (ProviderFailed(), None),
        (ProviderRateLimited(), None),
        (ProviderRefused(), None),
        (ProviderTimeout(), 99),
        (ProviderInterrupted(), 99),
        (RuntimeError("a mistake of ours"), 99),
        (ProviderFailed().costing(Cost(10, 12)), 10),
    ],
)
def test_one_table_says_what_a_failed_call_is_billed(error, booked):
    used = billed(error, 99)
    assert (used and used.input_tokens) == booked


class Endless:
    """Answers any request with a body that does not end, and remembers how much of it was taken."""

    def __init__(self, status: int) -> None:
        self.head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        self.pause = 0.0
        self.sent = 0
        self.ended = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.head.encode())
            while not writer.is_closing():
                writer.write(b"1000\r\n" + b" " * 4096 + b"\r\n")
                await writer.drain()
                self.sent += 4096
                await asyncio.sleep(self.pause)
        writer.close()
        self.ended.set()


@pytest.mark.parametrize("status", [200, 307, 400, 500])
@pytest.mark.parametrize("pause", [0.0, 0.05])
async def test_a_body_without_end_is_neither_kept_nor_waited_for(monkeypatch, status, pause):
    """B20: so many bytes and so much time, for answers and errors alike."""
    monkeypatch.setattr(openai_client, "_ERROR_SECONDS", 0.3)
    provider = Endless(status)
    provider.pause = pause
    async with await asyncio.start_server(provider, "127.0.0.1", 0) as server, asyncio.timeout(100):
        base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        patience = timedelta(seconds=1 if status == 200 else 60)
        async with openai_client.open_client(api_key="k", base_url=base_url, read=timedelta(seconds=30)) as client:
            embedder = OpenAIEmbedder(client, EmbeddingSpace("test", "m", 3), NoThrottle(), timeout=patience)
            with pytest.raises(UpstreamUnavailable) as raised:
                await embedder.embed(["x"])
        await provider.ended.wait()
    assert (billed(raised.value, 99) is not None) == (status == 200)
    assert provider.sent < 5_000_000


async def test_an_answer_that_is_packed_twice_is_not_unpacked():
    packed = gzip.compress(gzip.compress(bytes(50_000_000)))
    response = httpx2.Response(200, headers={"content-encoding": "gzip, gzip"}, stream=httpx2.ByteStream(packed))
    await openai_client._bound_error(response)
    assert await response.aread() == packed


def test_retry_after_is_read_in_all_its_forms():
    assert read_retry_after({"retry-after-ms": "1500"}) == timedelta(seconds=1.5)
    assert read_retry_after({"retry-after": "3"}) == timedelta(seconds=3)
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert timedelta(seconds=50) < (read_retry_after({"retry-after": date}) or timedelta(0)) <= timedelta(seconds=60)
    for senseless in ("soon", f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}", f"Mon, 01 Jan {'9' * 20} 00:00:00 GMT"):
        assert read_retry_after({"retry-after": senseless}) is None
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


@pytest.mark.parametrize("address", ["http//x", "localhost:11434", "http://"])
def test_an_address_of_no_provider_is_refused_at_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(SystemExit):
        load_settings(EmbeddingSettings)
    assert "cannot start: OPENAI_BASE_URL: is not the address of a service" in capsys.readouterr().err


def test_what_is_empty_in_the_environment_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "EMBEDDING_DIMENSIONS",
        "EMBEDDING_BASE_URL",
        "EMBEDDING_API_KEY",
    ):
        monkeypatch.setenv(name, "")
    settings = load_settings(EmbeddingSettings)
    assert (settings.openai_base_url, settings.embedding_dimensions) == ("https://api.openai.com/v1", None)
    assert not settings.embeds_with_openai


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
    assert counter.count("") == 0
    for limit in (0, 1, 7, total - 1):
        cut = counter.truncate(text, limit)
        assert text.startswith(cut)
        assert counter.count(cut) <= limit
    assert counter.truncate(text, total) == text


def vectors(*rows: list[float], tokens: object = 7) -> httpx2.Response:
    data = [
        {"index": index, "embedding": base64.b64encode(np.array(row, "<f4").tobytes()).decode()}
        for index, row in enumerate(rows)
    ]
    return httpx2.Response(200, json={"data": data, "usage": {"prompt_tokens": tokens}})


@pytest.mark.parametrize("odd", [[float("nan"), 1, 0], [float("inf"), 1, 0], [0, 0, 0]])
async def test_vectors_that_are_none_are_asked_for_again_and_both_are_paid(odd):
    provider = Provider(vectors([1, 0, 0], odd))
    batch = await provider.embedder().embed(["aa", "b"])
    assert np.isfinite(batch.vectors).all()
    assert (len(provider.requests), batch.tokens) == (2, 7 + 14)
    assert batch.counted == 2 * 2


@pytest.mark.parametrize("odd", [[float("nan"), 1, 0], [0, 0, 0]])
async def test_vectors_that_are_none_twice_fail_with_a_reason(odd):
    provider = Provider(vectors(odd), vectors(odd))
    with pytest.raises(EmbeddingInvalid) as raised:
        await provider.embedder().embed(["x"])
    assert raised.value.code == "embedding_invalid"
    assert len(provider.requests) == 2


@pytest.mark.parametrize("tokens", [None, "7", -1, 0, [7], 10**30])
async def test_an_odd_figure_is_replaced_by_our_own_count(tokens):
    body = json.dumps({"data": [{"index": 0, "embedding": [1.0, 0.0, 0.0]}], "usage": {"prompt_tokens": tokens}})
    batch = await Provider(httpx2.Response(200, text=body)).embedder().embed(["two words"])
    assert (batch.tokens, batch.estimated) == (2, True)


def test_embeddings_may_have_a_provider_of_their_own():
    shared = EmbeddingSettings(openai_api_key="sk-chat", openai_base_url="https://chat.example/v1")
    assert (shared.embedding_url, shared.embedding_key) == ("https://chat.example/v1", "sk-chat")
    own = EmbeddingSettings(openai_api_key="sk-chat", embedding_base_url="http://tei:8080", embedding_api_key="sk-own")
    assert (own.embedding_url, own.embedding_key, own.openai_base_url) == (
        "http://tei:8080",
        "sk-own",
        "https://api.openai.com/v1",
    )
    keyless = EmbeddingSettings(openai_api_key=None, embedding_base_url="http://tei:8080")
    assert keyless.embeds_with_openai and keyless.embedding_key is None
    assert EmbeddingSettings(openai_api_key="", embedding_api_key="sk-own").embeds_with_openai
    quotes_alone = EmbeddingSettings(embedding_provider="wordllama", embedding_base_url="http://tei:8080")
    assert not quotes_alone.embeds_with_openai


@pytest.mark.parametrize(
    ("model", "query", "passage"),
    [
        ("intfloat/multilingual-e5-large", "query: ", "passage: "),
        ("E5-base-v2", "query: ", "passage: "),
        ("intfloat/multilingual-e5-large-instruct", "", ""),
        ("nomic-embed-text:latest", "search_query: ", "search_document: "),
        ("BAAI/bge-small-en-v1.5", "Represent this sentence for searching relevant passages: ", ""),
        ("BAAI/bge-m3", "", ""),
        ("text-embedding-3-small", "", ""),
    ],
)
async def test_a_models_prefixes_belong_to_its_space(model: str, query: str, passage: str) -> None:
    settings = EmbeddingSettings(openai_api_key="sk-x", embedding_model=model, embedding_dimensions=8)
    space = await find_space(settings)
    assert (space.as_query("Why?"), space.as_passage("Because.")) == (f"{query}Why?", f"{passage}Because.")


async def test_prefixes_can_be_said_and_unsaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDING_BASE_URL", "http://127.0.0.1:8080/v1")
    monkeypatch.setenv("EMBEDDING_MODEL", "intfloat/multilingual-e5-large")
    monkeypatch.setenv("EMBEDDING_QUERY_PREFIX", '"Frage: "')
    monkeypatch.setenv("EMBEDDING_PASSAGE_PREFIX", '""')
    space = await find_space(load_settings(EmbeddingSettings))
    assert (space.as_query("a"), space.as_passage("b")) == ("Frage: a", "b")
    monkeypatch.setenv("EMBEDDING_PASSAGE_PREFIX", "")
    assert (await find_space(load_settings(EmbeddingSettings))).as_passage("b") == "passage: b"
