"""Any OpenAI-compatible provider behind the AnswerModel port."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from docuchat_chat.answers.ports import AnswerRequest
from docuchat_models.chat import ChatRequest, Piece
from docuchat_models.openai_chat import OpenAIChat


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
