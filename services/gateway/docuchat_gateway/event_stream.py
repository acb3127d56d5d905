"""Server-sent events, as the gateway reads and ends them."""

from collections.abc import AsyncIterator

import aiohttp
from orjson import dumps

from docuchat_common.errors import DocuChatError


def broken_off(error: DocuChatError, **more: str) -> bytes:
    """The event that tells the client that its stream ended early; with a `turn_id` it can be resumed."""
    return b"event: error\ndata: " + dumps(error_frame(error, **more)) + b"\n\n"


def error_frame(error: DocuChatError, **more: str) -> dict[str, object]:
    """An error as it stands in event streams and on the WebSocket."""
    frame: dict[str, object] = {"type": "error", "code": error.code, "message": error.detail, **more}
    if error.retry_after is not None:
        frame["retry_after"] = max(1, round(error.retry_after.total_seconds()))
    return frame | {key: value for key, value in error.extensions.items() if key not in frame}


async def events_of(response: aiohttp.ClientResponse) -> AsyncIterator[list[bytes]]:
    """The `data` of server-sent events, in batches of what arrived together; our services write each as one line."""
    rest = b""
    async for chunk in response.content.iter_any():
        *blocks, rest = (rest + chunk).split(b"\n\n")
        batch = []
        for block in blocks:
            start = 0 if block.startswith(b"data: ") else block.find(b"\ndata: ") + 1
            if start or block.startswith(b"data: "):
                batch.append(block[start + 6 :])
        if batch:
            yield batch
