import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI

from docuchat_common.errors import UpstreamUnavailable
from docuchat_models.chat import ChatRequest, Piece, TokenUsage
from docuchat_models.errors import ProviderFailed, ProviderInterrupted, ProviderRateLimited, ProviderRefused
from docuchat_models.openai_chat import OpenAIChat, _Limit
from docuchat_models.tokens import TokenCounter

LIMIT = 50


@dataclass
class Message:
    role: str = "user"
    content: str = "What is it?"


def sse(*texts: str, usage: dict | None = None) -> bytes:
    frames = [{"choices": [{"delta": {"content": text}, "finish_reason": None}]} for text in texts]
    frames.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    if usage:
        frames.append({"choices": [], "usage": usage})
    return b"".join(b"data: " + orjson.dumps(frame) + b"\n\n" for frame in frames) + b"data: [DONE]\n\n"


class Body(httpx2.AsyncByteStream):
    """A body that arrives read by read."""

    def __init__(self, *reads: bytes) -> None:
        self.reads = reads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for read in self.reads:
            yield read


def answering(*reads: bytes, content_type: str | None = "text/event-stream", status: int = 200, **headers: str):
    if content_type is not None:
        headers["content-type"] = content_type
    return httpx2.Response(status, headers=headers, stream=Body(*reads))


async def ask(response: httpx2.Response, *, model: str = "gpt-4o-mini", limit: int = LIMIT) -> list[Piece]:
    transport = httpx2.MockTransport(lambda _: response)
    async with httpx2.AsyncClient(transport=transport) as http:
        client = AsyncOpenAI(api_key="k", base_url="http://models.example/v1", max_retries=0, http_client=http)
        chat = OpenAIChat(client)
        assert chat.provider == "models.example"
        return [piece async for piece in chat.answer(ChatRequest(model, [Message()], limit, "tenant"))]


async def test_a_streamed_answer_comes_in_pieces_with_its_figures():
    pieces = await ask(answering(sse("Hello", " world", usage={"prompt_tokens": 5, "completion_tokens": 2})))
    assert pieces[0] == Piece()
    assert "".join(piece.text for piece in pieces) == "Hello world"
    assert [piece.usage.total_tokens for piece in pieces if piece.usage] == [7]


@pytest.mark.parametrize("content_type", ["text/html", "application/json", None])
async def test_a_page_with_status_200_was_no_answer(content_type):
    page = answering(b"<html><body>Welcome to the proxy\n</body></html>", content_type=content_type)
    with pytest.raises(ProviderFailed):
        await ask(page)


async def test_an_answer_that_comes_whole_is_an_answer_and_not_asked_for_again():
    whole = {
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    }
    pieces = await ask(answering(orjson.dumps(whole), content_type="application/json; charset=utf-8"))
    assert pieces == [Piece(), Piece("Hello", "stop", TokenUsage(5, 2))]


async def test_a_whole_answer_is_held_to_the_limit_too_and_a_bill_without_text_is_one():
    long = {"choices": [{"message": {"content": "word " * 1000}, "finish_reason": "stop"}]}
    pieces = await ask(answering(orjson.dumps(long), content_type="application/json"))
    assert pieces[-1].finish_reason == "length"
    assert TokenCounter.for_model("gpt-4o-mini").count(pieces[-1].text) <= LIMIT
    bill = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 0}}
    assert (await ask(answering(orjson.dumps(bill), content_type="application/json")))[-1].usage == TokenUsage(5, 0)


async def test_a_whole_answer_without_end_may_be_billed():
    with pytest.raises(ProviderInterrupted):
        await ask(answering(*[b" " * 2**20] * 5, content_type="application/json"))


async def test_a_stream_that_says_nothing_without_end_is_given_up():
    with pytest.raises(ProviderInterrupted, match="longer than can be"):
        await ask(answering(sse("Hello").partition(b"data: [DONE]")[0], *[b": wait\n" * 2**17] * 30))


async def test_a_read_that_was_packed_very_small_lets_others_have_their_turn():
    turns, packed = 0, gzip.compress(b'data: {"choices":[],"x":NaN}\n' * 100_000 + sse("Hello"))

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(other())
    pieces = await ask(answering(packed, **{"content-encoding": "gzip"}))
    task.cancel()
    assert "".join(piece.text for piece in pieces) == "Hello"
    assert turns > 100


async def test_a_stream_without_a_content_type_is_an_answer_all_the_same():
    pieces = await ask(answering(sse("Hello"), content_type=None))
    assert pieces[0] == Piece()
    assert pieces[1].text == "Hello"


async def test_a_stream_that_ends_early_is_interrupted():
    with pytest.raises(ProviderInterrupted):
        await ask(answering(b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n'))


@pytest.mark.parametrize(("model", "allowed"), [("gpt-4o-mini", LIMIT), ("somebodys-model", LIMIT * 3 // 2)])
async def test_text_is_cut_at_the_limit_before_anybody_sees_it(model, allowed):
    text = "lorem ipsum dolor " * 300_000  # 5 MB in one delta
    pieces = await ask(answering(sse("Well: ", text)), model=model)
    shown = "".join(piece.text for piece in pieces)
    assert allowed * 0.9 < TokenCounter.for_model(model).count(shown) <= allowed
    assert pieces[-1].finish_reason == "length"


@pytest.mark.parametrize(("piece", "slack"), [("word ", 1), ("𒀀𒁀 ", 8)])  # a letter of cuneiform is several tokens
async def test_text_that_comes_in_many_reads_is_cut_at_the_limit_too(piece, slack):
    reads = [sse(piece).split(b'data: {"choices":[{"delta":{}')[0] for _ in range(200)]
    pieces = await ask(answering(*reads))
    shown = "".join(piece.text for piece in pieces)
    assert LIMIT - slack <= TokenCounter.for_model("gpt-4o-mini").count(shown) <= LIMIT
    assert pieces[-1].finish_reason == "length"


_CODE = "def f(x):\n    return 1 + 2  # why\n\n| a | b |\n|---|---|\n| 1,234 | x |\n"
_PROSE = (_CODE, "The quick brown fox jumps. ", "سال‌ها پیش در تهران؛ ", "検索拡張生成とは何ですか。")
_RUNS = ("   \n", "====", "aaaa")
"""Of which a token holds very many."""


@pytest.mark.parametrize("model", ["gpt-4o-mini", "gpt-4", "somebodys-model"])
@given(text=st.sampled_from(_PROSE + _RUNS), length=st.integers(1, 7), limit=st.integers(1, 60))
@settings(max_examples=120, deadline=None)
def test_what_is_shown_is_the_beginning_of_what_came_and_no_longer_than_asked(model, text, length, limit):
    is_run = text in _RUNS
    text *= 300
    counter, asked = TokenCounter.for_model(model), _Limit(ChatRequest(model, [], limit, "tenant"))
    shown = []
    for start in range(0, len(text), length):
        piece = Piece(text[start : start + length])
        if asked.exceeded_by(piece):
            shown.append(asked.cut(piece).text)
            break
        shown.append(piece.text)
    allowed = limit if counter.is_exact else limit + limit // 2
    assert text.startswith("".join(shown))
    tokens = counter.count("".join(shown))
    assert tokens <= allowed
    # a character or a word that is cut in the midst may be several tokens
    assert is_run or tokens >= allowed - 8


@pytest.mark.parametrize("seed", [3, 5, 38])  # whose parts count for less than the whole
def test_letters_in_any_order_are_no_longer_than_asked(seed):
    draw, most = random.Random(seed), 80
    counter, limit = TokenCounter.for_model("gpt-4o-mini"), _Limit(ChatRequest("gpt-4o-mini", [], most, "tenant"))
    shown = ""
    while True:
        piece = Piece("".join(draw.choice("abcdefghij klmnop") for _ in range(draw.randint(1, 6))))
        if limit.exceeded_by(piece):
            break
        shown += piece.text
    assert counter.count(shown + limit.cut(piece).text) <= most


def test_text_and_thoughts_of_one_piece_together_are_no_longer_than_asked():
    piece = Piece("word " * 200, thoughts="Let me think. " * 200)
    limit = _Limit(ChatRequest("gpt-4o-mini", [], LIMIT, "tenant"))
    assert limit.exceeded_by(piece)
    cut, counter = limit.cut(piece), TokenCounter.for_model("gpt-4o-mini")
    assert counter.count(cut.text) + counter.count(cut.thoughts) <= LIMIT
    limit = _Limit(ChatRequest("gpt-4o-mini", [], LIMIT, "tenant"))
    assert not limit.exceeded_by(Piece(thoughts="think " * (LIMIT - 10)))
    assert limit.exceeded_by(piece)
    assert counter.count(limit.cut(piece).text) <= 10


class Watched(ThreadPoolExecutor):
    """A pool that remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(1)
        self.given = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.given += 1
        return super().submit(*args, **kwargs)


@pytest.mark.parametrize(("reads", "is_long"), [(4, False), (60, True)])
async def test_a_long_answer_is_counted_beside_the_event_loop(reads, is_long):
    asyncio.get_running_loop().set_default_executor(pool := Watched())
    part = sse("word " * 50).split(b'data: {"choices":[{"delta":{}')[0]
    pieces = await ask(answering(*[part] * reads, sse("The end.")), limit=3_200)
    assert pieces[-1].finish_reason == "stop"
    assert (pool.given > 1) is is_long  # the SDK asks for its platform once


def test_an_answer_whose_last_token_ends_elsewhere_is_not_shown_twice():
    before, last = "def f():\n    ", Piece("return 1 + 2")
    limit = _Limit(ChatRequest("gpt-4o-mini", [], 4, "tenant"))
    assert not limit.exceeded_by(Piece(before))
    assert limit.exceeded_by(last)
    assert limit.cut(last).text == ""


@pytest.mark.parametrize("step", [3, 40_000])
def test_thoughts_count_as_much_as_what_is_shown(step):
    thoughts, limit = "Let me think about it. " * 20_000, _Limit(ChatRequest("gpt-4o-mini", [], LIMIT, "tenant"))
    kept = [Piece("Well, ")]
    assert not limit.exceeded_by(kept[0])
    for start in range(0, len(thoughts), step):
        piece = Piece(thoughts=thoughts[start : start + step])
        if limit.exceeded_by(piece):
            kept.append(limit.cut(piece))
            break
        kept.append(piece)
    assert kept[-1].finish_reason == "length"
    counter = TokenCounter.for_model("gpt-4o-mini")
    tokens = counter.count("".join(p.text for p in kept)) + counter.count("".join(p.thoughts for p in kept))
    assert LIMIT - 2 <= tokens <= LIMIT


async def test_thoughts_without_an_end_are_ended():
    frame = b"data: " + orjson.dumps({"choices": [{"delta": {"reasoning_content": "Hm, let me see. "}}]}) + b"\n\n"
    pieces = await ask(answering(*[frame] * 500))
    assert pieces[-1].finish_reason == "length" and not any(piece.text for piece in pieces)
    assert TokenCounter.for_model("gpt-4o-mini").count("".join(piece.thoughts for piece in pieces)) <= LIMIT


@pytest.mark.parametrize("letter", [" ", "=", "a"])
def test_letters_that_come_one_by_one_are_not_counted_again_and_again(letter):
    counted = 0

    class Counter(TokenCounter):
        def count(self, text):
            nonlocal counted
            counted += len(text)
            return super().count(text)

    limit = _Limit(ChatRequest("somebodys-model", [], 200, "tenant"))
    counter = Counter.for_model("somebodys-model")
    limit._counter = limit._texts._counter = limit._thoughts._counter = counter
    shown = 0
    while not limit.exceeded_by(Piece(letter)):
        shown += 1
    assert shown > 200
    assert counted < 30 * 32 * 300  # characters: the longest text thirty times


async def test_an_answer_within_the_limit_is_left_as_it_is():
    text = "word " * (LIMIT - 1)
    pieces = await ask(answering(sse(text)))
    assert "".join(piece.text for piece in pieces) == text
    assert [piece.finish_reason for piece in pieces if piece.finish_reason] == ["stop"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {}, ProviderRefused),
        (402, {}, ProviderRefused),
        (404, {}, ProviderRefused),
        (400, {}, ProviderRefused),
        (429, {"error": {"code": "insufficient_quota"}}, ProviderRefused),
        (429, {}, ProviderRateLimited),
        (500, {}, ProviderFailed),
    ],
)
async def test_each_failure_has_the_meaning_that_embeddings_give_it_too(status, body, error):
    with pytest.raises(error) as raised:
        await ask(answering(orjson.dumps(body), content_type="application/json", status=status))
    if error is not ProviderRateLimited:
        assert isinstance(raised.value, UpstreamUnavailable)


async def test_an_absurd_pause_is_bounded():
    with pytest.raises(ProviderRateLimited) as limited:
        await ask(answering(b"{}", content_type="application/json", status=429, **{"retry-after": "99999999999"}))
    assert limited.value.retry_after.total_seconds() == 600
