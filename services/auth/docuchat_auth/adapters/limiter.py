"""Attempts counted in Redis."""

import time
from datetime import timedelta

import structlog
from limits import parse_many
from limits.aio.storage import Storage
from limits.aio.strategies import MovingWindowRateLimiter
from limits.errors import StorageError

from docuchat_auth.codes.errors import TooManyAttempts
from docuchat_auth.codes.ports import AttemptLimit
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.redis import REDIS_TROUBLE

logger = structlog.get_logger()

_TROUBLE: tuple[type[BaseException], ...] = (StorageError, *REDIS_TROUBLE)
_RETRY_SOON = timedelta(seconds=2)


class WindowLimiter:
    """Exact moving windows by the `limits` library, on whatever storage it is given."""

    def __init__(self, storage: Storage) -> None:
        self._strategy = MovingWindowRateLimiter(storage)

    async def hit(self, limit: AttemptLimit, subject: str) -> None:
        """Counts one attempt. Raises TooManyAttempts, UpstreamUnavailable."""
        try:
            for window in parse_many(limit.rate):
                if not await self._strategy.hit(window, limit.name, subject):
                    stats = await self._strategy.get_window_stats(window, limit.name, subject)
                    wait = timedelta(seconds=max(1.0, stats.reset_time - time.time()))
                    logger.warning("auth.limited", limit=limit.name)
                    raise TooManyAttempts(retry_after=wait)
        except _TROUBLE as error:
            raise UpstreamUnavailable(retry_after=_RETRY_SOON) from error
