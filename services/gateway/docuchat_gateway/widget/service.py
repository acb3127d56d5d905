"""Which builds of the widget are served: the present one, and every one that was it within two years."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from docuchat_common.blobs import BlobMissing, Blobs
from docuchat_common.clock import Clock, SystemClock
from docuchat_gateway.widget.domain import LARGEST, Build, is_name
from docuchat_gateway.widget.errors import WidgetNotBuilt, WidgetNotFound

logger = structlog.get_logger()

FOLDER: Final = "public/widget"
"""Of the blob store; what is a tenant's is in another."""
KEPT: Final = timedelta(days=2 * 366)
"""How long a build is served after it was last the present one anywhere."""
UPKEEP: Final = timedelta(hours=1)
_WRITTEN_AGAIN: Final = timedelta(days=1)
_REMEMBERED: Final = 16
_LOOK_SECONDS: Final = 1.0


class WidgetService:
    """Builds by their names, from memory and from the blob store, where each gateway puts its own.

    So gateways of different versions find each other's, and a tag outlives many upgrades. A blob's date says when its
    build was last the present one.
    """

    def __init__(
        self,
        blobs: Blobs,
        present: Build | None,
        *,
        clock: Clock | None = None,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`present` is the build of this installation, None where there is none."""
        self._blobs = blobs
        self._present = present
        self._clock = clock or SystemClock()
        self._elapsed = elapsed
        self._remembered: OrderedDict[str, Build] = OrderedDict()
        self._stored: frozenset[str] = frozenset()
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    def get_present(self) -> Build:
        """Raises WidgetNotBuilt."""
        if self._present is None:
            raise WidgetNotBuilt
        return self._present

    async def get(self, name: str) -> Build:
        """The build of this name. Raises WidgetNotFound, BlobStoreUnavailable."""
        if self._present is not None and name == self._present.name:
            return self._present
        if (build := self._remembered.get(name)) is not None:
            self._remembered.move_to_end(name)
            return build
        if not is_name(name) or not await self._is_stored(name):
            raise WidgetNotFound
        build = await self._fetch(name)
        self._remembered[name] = build
        while len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)
        return build

    async def keep_up(self) -> None:
        """Store the present build, with today's date, and delete those that have had their time."""
        now = self._clock.now()
        dates = {_name_of(entry.key): entry.modified_at async for entry in self._blobs.list(FOLDER)}
        present = self._present
        if present is not None and now - dates.pop(present.name, now - KEPT) > _WRITTEN_AGAIN:
            writer = self._blobs.open_writer(_key_of(present.name))
            try:
                await writer.write(present.script)
                await writer.commit()
            except BaseException:
                await writer.abort()
                raise
            logger.info("widget.stored", name=present.name)
        for name, last_present in dates.items():
            if is_name(name) and now - last_present > KEPT:
                await self._blobs.delete(_key_of(name))
                self._remembered.pop(name, None)
                logger.info("widget.deleted", name=name)

    async def _is_stored(self, name: str) -> bool:
        """Whether the store has it.

        Anybody may ask for any name: so the store is not asked for each, but listed, once a second at most.
        """
        if name in self._stored:
            return True
        asked_at = self._elapsed()
        async with self._looking:
            if self._looked_at < asked_at:  # nobody else has looked since
                await asyncio.sleep(max(0.0, self._looked_at + _LOOK_SECONDS - self._elapsed()))
                self._looked_at = self._elapsed()
                self._stored = frozenset([_name_of(entry.key) async for entry in self._blobs.list(FOLDER)])
        return name in self._stored

    async def _fetch(self, name: str) -> Build:
        try:
            content = await self._blobs.open(_key_of(name), 0, LARGEST)
            script = b"".join([chunk async for chunk in content.chunks])
            build = Build.of(script)
        except BlobMissing as error:  # deleted since the store was listed
            raise WidgetNotFound from error
        except ValueError as error:
            logger.error("widget.corrupt", name=name)
            raise WidgetNotFound from error
        if build.name != name:
            logger.error("widget.corrupt", name=name)
            raise WidgetNotFound
        return build


def _key_of(name: str) -> str:
    return f"{FOLDER}/{name}.js"


def _name_of(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".js")
