"""A body that ends when who fetches it may go on no more."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractContextManager, suppress
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from docuchat_common.errors import DocuChatError


class FollowedResponse(StreamingResponse):
    """Sent until `following` says that it must not go on; then it is cut, so that nobody takes it for whole."""

    def __init__(
        self,
        content: AsyncIterator[bytes],
        following: AbstractContextManager[asyncio.Future[DocuChatError]],
        *,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(content, media_type=media_type, headers=headers)
        self._following = following

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._following as ended:
            if ended.done():
                raise ended.result()
            sending = asyncio.create_task(super().__call__(scope, receive, send))
            ends: set[asyncio.Future[Any]] = {sending, ended}
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                if sending.done():
                    sending.result()
            finally:  # the server cuts what its application did not complete
                if not sending.done():
                    sending.cancel()
                    with suppress(asyncio.CancelledError):
                        await sending
