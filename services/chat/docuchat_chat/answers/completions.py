"""A short text that a model is asked for beside an answer: read whole, and what it cost is noted."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta

from docuchat_chat.answers.ports import AnswerModel, AnswerRequest
from docuchat_chat.answers.prompt import CountsTokens
from docuchat_common.metering import OpenCall, TokenBounds, Used, bounded, used_of
from docuchat_models.errors import ProviderError, billed


async def complete(
    model: AnswerModel, request: AnswerRequest, made: OpenCall, counter: CountsTokens, patience: timedelta
) -> str:
    """Return all that the model says. Raises DocuChatError, TimeoutError.

    A call of which nothing is known when it fails stays booked as it was expected.
    """
    tokens, most = made.call.expected_input_tokens, request.max_output_tokens
    said, accepted, usage = "", False, None
    try:
        async with asyncio.timeout(patience.total_seconds()), aclosing(model.answer(request)) as pieces:
            async for piece in pieces:
                accepted = True
                said += piece.text
                usage = piece.usage or usage
    except (TimeoutError, ProviderError) as error:
        if isinstance(error, ProviderError) and not accepted:
            made.outcome = billed(error, tokens)
        else:  # what came was written, and is paid
            made.used(Used(tokens, counter.count(said), estimated=True))
        raise
    counted = counter.count(said)
    if usage is None:
        made.used(Used(tokens, counted, estimated=True))
    else:
        made.used(
            used_of(
                bounded(usage.input_tokens, tokens, TokenBounds(), "input_tokens"),
                bounded(usage.output_tokens, counted, TokenBounds(), "output_tokens", allowed=most),
            )
        )
    return said
