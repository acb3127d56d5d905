"""What identity providers said of themselves, for a while."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from docuchat_auth.federated_logins.errors import IdentityProviderUnavailable
from docuchat_common.clock import Clock
from docuchat_common.ids import TenantId

_REMEMBER_FOR: Final = timedelta(minutes=10)
_REFUSE_FOR: Final = timedelta(seconds=5)
_MOST: Final = 600
_MOST_OF_TENANT: Final = 12

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Kept:
    told: Any
    until: datetime
    refusal: str | None = None
    """Why there was no answer."""


class ProviderMemory:
    """Equal questions are asked once at a time, and who gave no answer is not asked again at once.

    Each tenant has few places, and what is kept there was judged before: no provider fills the memory of all.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: OrderedDict[tuple[TenantId, str], _Kept] = OrderedDict()
        self._asking: WeakValueDictionary[tuple[TenantId, str], asyncio.Lock] = WeakValueDictionary()

    async def get(self, tenant_id: TenantId, url: str, ask: Callable[[], Awaitable[_T]]) -> _T:
        """What `ask` returned a while ago, or returns now. Raises IdentityProviderUnavailable, as `ask`."""
        place = (tenant_id, url)
        async with self._asking.setdefault(place, asyncio.Lock()):
            kept = self._kept.get(place)
            if kept is None or kept.until <= self._clock.now():
                kept = await self._ask(ask)
                self._keep(place, kept)
        if kept.refusal is not None:
            raise IdentityProviderUnavailable(kept.refusal)
        told: _T = kept.told
        return told

    def forget(self, tenant_id: TenantId, url: str) -> None:
        """Have it asked for anew."""
        self._kept.pop((tenant_id, url), None)

    async def _ask(self, ask: Callable[[], Awaitable[_T]]) -> _Kept:
        try:
            told = await ask()
        except IdentityProviderUnavailable as error:
            return _Kept(None, self._clock.now() + _REFUSE_FOR, error.detail)
        return _Kept(told, self._clock.now() + _REMEMBER_FOR)

    def _keep(self, place: tuple[TenantId, str], kept: _Kept) -> None:
        self._kept.pop(place, None)
        moment = self._clock.now()
        for over in [one for one, other in self._kept.items() if other.until <= moment]:
            del self._kept[over]
        own = [one for one in self._kept if one[0] == place[0]]
        if len(own) >= _MOST_OF_TENANT:
            del self._kept[own[0]]
        elif len(self._kept) >= _MOST:
            self._kept.popitem(last=False)
        self._kept[place] = kept
