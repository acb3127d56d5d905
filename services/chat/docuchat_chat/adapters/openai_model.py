"""Any OpenAI-compatible provider behind the AnswerModel port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from openai import AsyncOpenAI

from docuchat_chat.answers.ports import AnswerRequest
from docuchat_chat.providers.domain import Auth, Provider
from docuchat_common.egress import EgressPolicy
from docuchat_models.chat import ChatRequest, Piece
from docuchat_models.listing import list_models
from docuchat_models.openai_chat import OpenAIChat
from docuchat_models.openai_client import open_client
from docuchat_models.providers import Listing

_PATIENCE = timedelta(seconds=10)
"""For a list of models."""


class OpenAIModel:
    """Streams completions of an OpenAI-compatible provider."""

    has_own_knowledge = True

    def __init__(self, chat: OpenAIChat) -> None:
        self._chat = chat

    def answer(self, request: AnswerRequest) -> AsyncGenerator[Piece, None]:
        """Stream an answer; all text of one read is one piece."""
        return self._chat.answer(
            ChatRequest(
                request.model,
                request.messages,
                request.max_output_tokens,
                user=str(request.tenant_id),
                temperature=request.setup.temperature,
            )
        )


class OpenedOpenAIProvider:
    """A client of a provider that is a row."""

    def __init__(self, client: AsyncOpenAI, *, longest_pause: timedelta) -> None:
        self._client = client
        self.answers = OpenAIModel(OpenAIChat(client, longest_pause=longest_pause))

    async def list_models(self) -> Listing:
        """Ask for its models; what goes wrong is told, not raised."""
        return await list_models(self._client.with_options(timeout=_PATIENCE.total_seconds()))


@asynccontextmanager
async def open_provider(
    provider: Provider,
    api_key: str | None,
    *,
    read: timedelta,
    connect: timedelta,
    longest_pause: timedelta,
    egress: EgressPolicy,
) -> AsyncIterator[OpenedOpenAIProvider]:
    """Open a client of a provider; a tenant's connects to what `egress` allows alone."""
    async with open_client(
        api_key=api_key,
        base_url=provider.base_url,
        read=read,
        connect=connect,
        key_header=Auth.API_KEY.value if provider.auth is Auth.API_KEY else None,
        query=provider.query,
        egress=None if provider.tenant_id is None else egress,
    ) as client:
        yield OpenedOpenAIProvider(client, longest_pause=longest_pause)
