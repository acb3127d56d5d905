"""What is refused, as others say it."""

from __future__ import annotations

from typing import Any

from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.chatbots.errors import ChatbotNotPublished
from docuchat_chat.openai_api.errors import ModelNotFound
from docuchat_common.contracts.chatbots import ChatbotNotFound
from docuchat_common.contracts.openai_errors import openai_error
from docuchat_common.errors import DocuChatError
from docuchat_common.http.problems import status_of


def as_refusal(error: DocuChatError) -> DocuChatError:
    """Return an error as it is told: what cannot be asked by a name is a model that is not there."""
    match error:
        case ModelNotAllowed() | ChatbotNotFound():
            return ModelNotFound(param="model")
        case ChatbotNotPublished():
            return ModelNotFound(error.detail, param="model")
        case _:
            return error


def error_object(error: DocuChatError) -> dict[str, Any]:
    """Return the `error` that is told in the midst of a stream."""
    return openai_error(status_of(error), error.code, error.detail, error.extensions)
