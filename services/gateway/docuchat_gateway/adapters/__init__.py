"""Redis, the blob store and the other services behind the ports."""

from typing import Final

from redis.exceptions import RedisError

REDIS_TROUBLE: Final = (RedisError, OSError, TimeoutError)
"""What a Redis that is away, frozen or starting looks like from here."""
