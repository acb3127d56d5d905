"""Room for work that many ask for at once: nobody has it all."""

from asyncio import Semaphore
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary

from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller


class OpenCounts:
    """How many of one thing somebody has open in this process; who has `limit` of them is refused another."""

    def __init__(self, limit: int, refusal: Callable[[int], DocuChatError]) -> None:
        """0 means no limit."""
        self._limit = limit
        self._refusal = refusal
        self._counts: Counter[str] = Counter()

    def require_room(self, name: str) -> None:
        """Raise the refusal when `name` can have no more."""
        if self._limit and self._counts[name] >= self._limit:
            raise self._refusal(self._limit)

    @contextmanager
    def one_more(self, name: str) -> Iterator[None]:
        """One more of `name` while the block runs. Raises the refusal."""
        self.require_room(name)
        self._counts[name] += 1
        try:
            yield
        finally:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]


class SharedSlots:
    """Half of the slots at most are one tenant's, and a quarter one caller's."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._all = Semaphore(count)
        self._tenants: WeakValueDictionary[int, Semaphore] = WeakValueDictionary()
        self._callers: WeakValueDictionary[str, Semaphore] = WeakValueDictionary()

    def slot_of(self, caller: Caller) -> "Slot":
        """A slot for one piece of work, not taken yet."""
        tenant = self._tenants.setdefault(caller.tenant_id, Semaphore(max(1, self._count // 2)))
        own = self._callers.setdefault(caller.holder, Semaphore(max(1, self._count // 4)))
        return Slot((own, tenant, self._all))


class Slot:
    """The right to work now; given up while another is waited for, such as a client that is silent."""

    def __init__(self, shares: tuple[Semaphore, ...]) -> None:
        self._shares = shares
        self._held: list[Semaphore] = []

    async def take(self) -> None:
        """Wait for room; nothing happens when it is held already."""
        try:
            for share in self._shares[len(self._held) :]:
                await share.acquire()
                self._held.append(share)
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Let others have the room."""
        while self._held:
            self._held.pop().release()
