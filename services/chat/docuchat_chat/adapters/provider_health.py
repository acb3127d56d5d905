"""How providers are, shared by all replicas through one hash in Redis, in which only those stand that are not well."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

import orjson
from redis.asyncio import Redis

from docuchat_chat.metrics import PROVIDER_CALLS, PROVIDER_HEALTH
from docuchat_chat.providers.domain import Provider, ProviderId
from docuchat_chat.providers.watching import DOWN_AFTER, LIMITED_FOR, WELL, Health, State
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.redis import redis_errors_translated

KEY: Final = "chat:provider_health"
_PROBES: Final = "chat:provider_probes"
_VALUES: Final[Mapping[State, float]] = {"ok": 1.0, "degraded": 0.5, "down": 0.0}
_MOST_NOTES: Final = 1_000

_FAILED: Final = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
local is = raw and cjson.decode(raw) or {failures = 0}
is.failures = math.min(is.failures + ARGV[3], 1000)
is.error = ARGV[2]
local state = is.failures >= tonumber(ARGV[5]) and 'down' or 'degraded'
is.state = state
is.since = is.since or ARGV[4]
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(is))
"""
"""ARGV: provider, code, failures that count, now, how many are too many."""
_RECOVERING: Final = """
local raw = redis.call('HGET', KEYS[1], ARGV[1])
if not raw then return end
local is = cjson.decode(raw)
is.failures = ARGV[2] - 1
is.state = 'degraded'
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(is))
"""
"""ARGV: provider, how many failures are too many."""


@dataclass(slots=True)
class _Note:
    """What is to be told to Redis of one provider."""

    is_well: bool = False
    is_recovering: bool = False
    failures: int = 0
    code: str | None = None


class RedisWatch:
    """What is known here, told to and read from Redis beside the requests."""

    def __init__(self, redis: Redis, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._redis = redis
        self._now = now
        self._known: dict[ProviderId, Health] = {}
        self._failures: dict[ProviderId, int] = {}
        self._notes: dict[ProviderId, _Note] = {}
        self._probed: dict[ProviderId, datetime] = {}
        """When this replica probed on its own, while Redis was away."""
        self._platform: dict[ProviderId, str] = {}
        """The platform's providers that were asked here: there are not many."""

    def of(self, provider_id: ProviderId) -> Health:
        """Return how a provider is."""
        return self._known.get(provider_id, WELL)

    def troubled(self) -> Mapping[ProviderId, Health]:
        """Return all that are not well."""
        return self._known

    def worked(self, provider: Provider) -> None:
        """Note that it answered."""
        self._count(provider, "ok")
        if provider.id in self._known:
            self.forget(provider.id)

    def failed(self, provider: Provider, code: str, *, counts: bool = True) -> None:
        """Note that it did not; what does not `count` never makes it one that is down."""
        self._fail(provider, code, int(counts))

    def limited(self, provider: Provider, code: str) -> None:
        """Note that it takes no more requests; one that did so for `LIMITED_FOR` is down with that."""
        before = self.of(provider.id)
        is_lasting = before.last_error == code and before.since and self._now() - before.since >= LIMITED_FOR
        self._fail(provider, code, DOWN_AFTER if is_lasting else 0)

    def recovering(self, provider: Provider) -> None:
        """Note that it answers again: it may be asked, and one more failure makes it one that is down."""
        self._failures[provider.id] = DOWN_AFTER - 1
        self._known[provider.id] = Health("degraded", self.of(provider.id).last_error, self.of(provider.id).since)
        if (note := self._note(provider.id)) is not None:
            note.is_recovering, note.failures, note.code = True, 0, None

    def forget(self, provider_id: ProviderId) -> None:
        """Know nothing of it any more: it is well, gone, or another one under its name."""
        self._known.pop(provider_id, None)
        self._failures.pop(provider_id, None)
        if (note := self._note(provider_id)) is not None:
            note.is_well, note.is_recovering, note.failures, note.code = True, False, 0, None

    async def claim_probe(self, provider_id: ProviderId, pause: timedelta) -> bool:
        """Whether it is for this replica to probe it now; while Redis is away each replica probes on its own."""
        try:
            with redis_errors_translated():
                key = f"{_PROBES}:{provider_id}"
                return bool(await self._redis.set(key, 1, nx=True, px=pause // timedelta(milliseconds=1)))
        except UpstreamUnavailable:
            now = self._now()
            self._probed = {each: at for each, at in self._probed.items() if now - at < pause}
            return self._probed.setdefault(provider_id, now) is now

    async def share(self) -> None:
        """Tell Redis what was noted, and read how all are. Raises UpstreamUnavailable."""
        notes, self._notes = self._notes, {}
        try:
            with redis_errors_translated():
                for provider_id, note in notes.items():
                    await self._tell(provider_id, note)
                found: dict[Any, Any] = await cast(Any, self._redis.hgetall(KEY))
        except BaseException:
            self._notes = notes | self._notes
            raise
        self._read(found)

    def _fail(self, provider: Provider, code: str, by: int) -> None:
        self._count(provider, code)
        failures = self._failures[provider.id] = self._failures.get(provider.id, 0) + by
        state: State = "down" if failures >= DOWN_AFTER else "degraded"
        self._known[provider.id] = Health(state, code, self.of(provider.id).since or self._now())
        if (note := self._note(provider.id)) is not None:
            note.is_well = note.is_recovering = False
            note.failures, note.code = note.failures + by, code

    async def _tell(self, provider_id: ProviderId, note: _Note) -> None:
        name, now = str(provider_id), self._now().isoformat()
        if note.is_well:
            await cast(Any, self._redis.hdel(KEY, name))
        elif note.is_recovering:
            await cast(Any, self._redis.eval(_RECOVERING, 1, KEY, name, DOWN_AFTER))
        elif note.code is not None:
            await cast(Any, self._redis.eval(_FAILED, 1, KEY, name, note.code, note.failures, now, DOWN_AFTER))

    def _read(self, found: Mapping[Any, Any]) -> None:
        known: dict[ProviderId, Health] = {}
        failures: dict[ProviderId, int] = {}
        for name, told in found.items():
            provider_id, each = ProviderId(UUID(_text(name))), orjson.loads(told)
            known[provider_id] = Health(each["state"], each["error"], datetime.fromisoformat(each["since"]))
            failures[provider_id] = int(each["failures"])
        for provider_id in self._notes:  # of meanwhile: told next time, and newer than what was read
            if provider_id in self._known:
                known[provider_id], failures[provider_id] = self._known[provider_id], self._failures[provider_id]
            else:
                known.pop(provider_id, None)
        self._known, self._failures = known, failures
        for provider_id, name in self._platform.items():
            PROVIDER_HEALTH.labels(name).set(_VALUES[self.of(provider_id).state])

    def _note(self, provider_id: ProviderId) -> _Note | None:
        """The note of a provider; None when there are too many, as while Redis is away."""
        if provider_id not in self._notes and len(self._notes) >= _MOST_NOTES:
            return None
        return self._notes.setdefault(provider_id, _Note())

    def _count(self, provider: Provider, outcome: str) -> None:
        if provider.tenant_id is None:  # tenants' have no place in metrics: nobody knows how many there are
            self._platform[provider.id] = provider.name
            PROVIDER_CALLS.labels(provider.name, outcome).inc()


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
