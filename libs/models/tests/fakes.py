"""A provider of embeddings that answers as it is told."""

import base64
import json

import httpx2
import numpy as np
from openai import AsyncOpenAI

from docuchat_models.openai_embeddings import OpenAIEmbedder
from docuchat_models.spaces import EmbeddingSpace
from docuchat_models.throttle import NoThrottle, RedisThrottle


class Provider:
    """Answers embedding requests; `replies` are given first, then vectors that name their text."""

    def __init__(self, *replies: httpx2.Response | Exception) -> None:
        self.replies = list(replies)
        self.requests: list[dict] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        self.requests.append(body)
        if self.replies:
            reply = self.replies.pop(0)
            if isinstance(reply, httpx2.Response):
                return reply
            raise reply
        data = [
            {"index": index, "embedding": base64.b64encode(np.array([len(text), 1, 0], "<f4").tobytes()).decode()}
            for index, text in enumerate(body["input"])
        ]
        return httpx2.Response(200, json={"data": data[::-1], "usage": {"prompt_tokens": 7 * len(data)}})

    def embedder(self, throttle: RedisThrottle | NoThrottle | None = None, **options: object) -> OpenAIEmbedder:
        client = AsyncOpenAI(
            api_key="test",
            base_url="http://provider.test/v1",
            max_retries=0,
            http_client=httpx2.AsyncClient(transport=httpx2.MockTransport(self)),
        )
        space = EmbeddingSpace("test", "m", 3)
        return OpenAIEmbedder(client, space, throttle or NoThrottle(), **options)  # type: ignore[arg-type]
