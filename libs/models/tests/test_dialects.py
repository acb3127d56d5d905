"""What a model is asked with, and how it is asked again when it refuses a parameter."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import orjson
import pytest
from openai import AsyncOpenAI

from docuchat_models.chat import ChatRequest
from docuchat_models.errors import ProviderRefused
from docuchat_models.openai_chat import OpenAIChat

OPENAI = "https://api.openai.com/v1"
AZURE = "https://acme.openai.azure.com/openai/v1/"
OLLAMA = "http://localhost:11434/v1"
STREAM = b'data: {"choices": [{"delta": {"content": "Hi."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
NO_OLD_NAME = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)


@dataclass
class Message:
    role: str = "user"
    content: str = "What is it?"


class Provider:
    """Answers, or refuses what it was told to refuse; remembers what it was asked with."""

    def __init__(self, refuse: Callable[[dict[str, Any]], tuple[int, dict[str, Any]] | None] = lambda _: None) -> None:
        self.refuse = refuse
        self.asked: list[dict[str, Any]] = []

    def answer(self, request: httpx2.Request) -> httpx2.Response:
        body = orjson.loads(request.content)
        self.asked.append(body)
        refusal = self.refuse(body)
        if refusal is not None:
            return httpx2.Response(refusal[0], json=refusal[1])
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=STREAM)

    async def ask(self, base_url: str, *, times: int = 1, temperature: float | None = None) -> str:
        texts = []
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer)) as http:
            chat = OpenAIChat(AsyncOpenAI(api_key="k", base_url=base_url, max_retries=0, http_client=http))
            request = ChatRequest("model", [Message()], 50, "tenant", temperature)
            for _ in range(times):
                texts += [piece.text async for piece in chat.answer(request)]
        return "".join(texts)


def refusing(name: str, message: str, *, param: str | None = None, status: int = 400) -> Any:
    def refuse(body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        return (status, {"error": {"message": message, "param": param, "code": None}}) if name in body else None

    return refuse


@pytest.mark.parametrize(
    ("base_url", "bound"),
    [
        (OPENAI, "max_completion_tokens"),
        (AZURE, "max_completion_tokens"),
        (OLLAMA, "max_tokens"),
        ("https://api.fireworks.ai/inference/v1", "max_tokens"),
        ("https://api.openai.com.example.org/v1", "max_tokens"),
    ],
)
async def test_an_answer_is_bounded_by_the_name_that_its_provider_knows(base_url: str, bound: str) -> None:
    provider = Provider()
    assert await provider.ask(base_url) == "Hi."
    (asked,) = provider.asked
    assert asked[bound] == 50
    assert len({"max_tokens", "max_completion_tokens"} & set(asked)) == 1
    assert asked["stream"] is True and asked["stream_options"] == {"include_usage": True}
    assert asked["messages"] == [{"role": "user", "content": "What is it?"}]
    assert "temperature" not in asked


@pytest.mark.parametrize(
    ("base_url", "refused", "bound", "message"),
    [
        ("https://proxy.example/v1", "max_tokens", "max_completion_tokens", NO_OLD_NAME),
        (AZURE, "max_completion_tokens", "max_tokens", "Unrecognized request argument supplied: max_completion_tokens"),
    ],
)
async def test_a_model_that_refuses_the_name_of_the_bound_is_asked_by_the_other_from_then_on(
    base_url: str, refused: str, bound: str, message: str
) -> None:
    provider = Provider(refusing(refused, message))
    assert await provider.ask(base_url, times=2) == "Hi.Hi."
    assert [(refused in asked, asked.get(bound)) for asked in provider.asked] == [
        (True, None),
        (False, 50),
        (False, 50),
    ]


@pytest.mark.parametrize(
    ("name", "message", "param", "status"),
    [
        ("temperature", "`temperature` is deprecated for this model.", None, 400),
        ("temperature", "Unsupported value; only the default (1) is supported.", "temperature", 400),
        ("user", "Extra inputs are not permitted: ['body', 'user']", None, 422),
        ("stream_options", "Unknown field: stream_options", None, 400),
    ],
)
async def test_a_parameter_that_is_refused_by_name_is_left_out(
    name: str, message: str, param: str | None, status: int
) -> None:
    provider = Provider(refusing(name, message, param=param, status=status))
    assert await provider.ask(OLLAMA, temperature=0.2) == "Hi."
    first, second = provider.asked
    assert {key: value for key, value in first.items() if key != name} == second


async def test_an_answer_without_a_bound_is_never_asked_for() -> None:
    provider = Provider(lambda _: (400, {"error": {"message": "max_tokens and max_completion_tokens are too large"}}))
    with pytest.raises(ProviderRefused):
        await provider.ask(OLLAMA)
    assert [sorted({"max_tokens", "max_completion_tokens"} & set(asked)) for asked in provider.asked] == [
        ["max_tokens"],
        ["max_completion_tokens"],
    ]


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Conversation roles must alternate user/assistant/user/assistant"),
        (400, "This model's maximum context length is 8192 tokens."),
        (401, "max_tokens"),
        (404, "temperature"),
    ],
)
async def test_another_refusal_is_not_asked_about_again(status: int, message: str) -> None:
    provider = Provider(lambda _: (status, {"error": {"message": message}}))
    with pytest.raises(ProviderRefused):
        await provider.ask(OLLAMA, temperature=0.2)
    assert len(provider.asked) == 1
