"""Which models a provider lists: one cheap request, by which it is told whether it can be used at all."""

from __future__ import annotations

import asyncio

import openai
import orjson
from openai import AsyncOpenAI

from docuchat_models.errors import ProviderError, ProviderTimeout
from docuchat_models.openai_client import LOST, read_bounded, translate
from docuchat_models.providers import Listing

_LONGEST = 2 * 1024 * 1024


async def list_models(client: AsyncOpenAI) -> Listing:
    """Ask a provider which models it has; what goes wrong is told, not raised."""
    try:
        async with client.models.with_streaming_response.list() as response:
            body = await read_bounded(response, _LONGEST)
            return Listing(response.status_code, await asyncio.to_thread(_names, body))
    except openai.APIStatusError as error:
        return Listing(error.status_code)
    except openai.APIError as error:
        return Listing(None, is_late=isinstance(translate(error), ProviderTimeout))
    except (ProviderError, ValueError, *LOST):  # a key that no header can say is a ValueError
        return Listing(None)


def _names(body: bytes) -> frozenset[str] | None:
    try:
        answer = orjson.loads(body)
        return frozenset(str(each["id"]) for each in answer["data"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None
