"""What the parts of a client share: a request whose answer is a model, a creation, and a list page by page."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from pydantic import BaseModel

from docuchat_client.bodies import Progress, parsed
from docuchat_client.models import Model, Page
from docuchat_client.transport import Transport

M = TypeVar("M", bound=BaseModel)
Item = TypeVar("Item", bound=Model)
_MOST = 100


class Calls:
    """A client's requests."""

    _transport: Transport

    @property
    def base_url(self) -> str:
        """The service's address."""
        return self._transport.base_url

    async def _get(self, model: type[M], method: str, path: str, **options: Any) -> M:
        return parsed(model, await self._transport.request(method, path, **options), self.base_url)

    async def _create(self, model: type[M], path: str, body: Any = None, idempotency_key: str | None = None) -> M:
        """Repeated when the service was away, and made once all the same."""
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return await self._get(model, "POST", path, json=body, headers=headers)

    async def _every(self, model: type[Page[Item]], path: str, **params: Any) -> AsyncIterator[Item]:
        """All of a list, page by page."""
        cursor: str | None = None
        while True:
            page = await self._get(model, "GET", path, params={**params, "limit": _MOST, "cursor": cursor})
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return

    async def _download(self, path: str, target: Path | BinaryIO, on_progress: Progress | None = None) -> int:
        """Write what a path holds to `target`; returns its size. A file that fails halfway is removed."""
        if isinstance(target, Path):
            partial = target.with_name(f".{target.name}.partial")
            try:
                with partial.open("wb") as file:
                    size = await self._download(path, file, on_progress)
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
            return size
        done = 0
        async with self._transport.stream("GET", path) as response:
            total = int(response.headers.get("content-length", 0))
            async for piece in response.aiter_bytes():
                await asyncio.to_thread(target.write, piece)
                done += len(piece)
                if on_progress is not None:
                    on_progress(done, total)
        return done
