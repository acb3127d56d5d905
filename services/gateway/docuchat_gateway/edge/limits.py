"""The rate limit as ASGI middleware: before anything else is done for a request, and streams pass through untouched."""

import asyncio
import math
from collections import Counter
from datetime import timedelta
from typing import Final
from weakref import WeakValueDictionary

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docuchat_common.errors import DocuChatError, RateLimited
from docuchat_common.http.addresses import limited_address
from docuchat_common.http.identity import bearer_token
from docuchat_common.http.problems import response_for
from docuchat_common.http.slots import Slot
from docuchat_common.rate_limits import Limit, Rate, RateDecision, RateLimiter
from docuchat_gateway.edge.requests import client_address
from docuchat_gateway.edge.standing import Admission
from docuchat_gateway.edge.table import TABLE

LIMITED: Final = ("/v1/", "/scim/", "/.well-known/")
"""Prefixes of what is counted; health, metrics, documentation and the WebSocket (which counts messages) are not."""

REFUSED: Final = "docuchat.refused"
"""In the scope of a request whose credential was refused already: why."""

TURN: Final = "docuchat.turn"
"""In the scope of a request that comes from a busy address: its turn, to be taken before a service is asked."""

_SIGN_IN: Final = frozenset(row.path for row in TABLE if row.service == "auth" and row.action == "public")
_WINDOW: Final = timedelta(minutes=1)


class Turns:
    """Whoever signs in at an address that has used up its limit waits for a turn.

    Nobody can tell junk from a credential that is right before auth has looked at it: so the one does not refuse the
    other, and junk costs no more than so many requests at once.
    """

    AT_ONCE: Final = 8
    WAITING: Final = 100
    PATIENCE: Final = timedelta(seconds=10)

    def __init__(self) -> None:
        self._lanes: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._waiting: Counter[str] = Counter()

    def turn_of(self, address: str, path: str) -> "Turn":
        """A turn at a path, not taken yet."""
        name = f"{limited_address(address)}:{path}"
        return Turn(name, self._lanes.setdefault(name, asyncio.Semaphore(self.AT_ONCE)), self._waiting)


class Turn:
    """One request's turn."""

    def __init__(self, name: str, lane: asyncio.Semaphore, waiting: Counter[str]) -> None:
        self._name = name
        self._slot = Slot((lane,))
        self._waiting = waiting

    async def take(self) -> None:
        """Wait for it, once the client has sent all: who is slow keeps nobody waiting. Raises RateLimited."""
        if self._waiting[self._name] >= Turns.WAITING:
            raise RateLimited(retry_after=Turns.PATIENCE)
        self._waiting[self._name] += 1
        try:
            async with asyncio.timeout(Turns.PATIENCE.total_seconds()):
                await self._slot.take()
        except TimeoutError as error:
            raise RateLimited(retry_after=Turns.PATIENCE) from error
        finally:
            self._waiting[self._name] -= 1
            if not self._waiting[self._name]:
                del self._waiting[self._name]

    def end(self) -> None:
        """Let the next one have it."""
        self._slot.give_up()


class RequestLimits:
    """How many requests a caller, or an address without one, has in a sliding minute."""

    def __init__(self, limiter: RateLimiter, *, per_user: int, per_address: int) -> None:
        """0 means no limit."""
        self._limiter = limiter
        self._per_user = per_user
        self._per_address = per_address
        self.turns = Turns()

    async def hit_caller(self, subject: str) -> RateDecision | None:
        """Count one request of a caller; None when nothing is counted, and it may pass."""
        return await self._hit("user", subject, self._per_user)

    async def hit_address(self, address: str, path: str = "") -> RateDecision | None:
        """As `hit_caller`, for an address; each path of signing in counts for itself.

        Otherwise junk that one sends elsewhere would keep all who share the address from signing in, and signed in.
        """
        own = f":{path}" if path in _SIGN_IN else ""
        return await self._hit("address", f"{limited_address(address)}{own}", self._per_address)

    async def hit_new_key(self, address: str) -> RateDecision | None:
        """Count an API key that this address has not yet shown to be good, before anybody knows whether it is."""
        return await self._hit("new-key", limited_address(address), self._per_address)

    async def forgive_new_key(self, address: str) -> None:
        """Take back what `hit_new_key` has counted: the key was good, so only bad ones are counted."""
        if self._per_address:
            subject = limited_address(address)
            await self._limiter.give_back(Limit("new-key", subject, Rate(self._per_address, _WINDOW)))

    async def _hit(self, name: str, subject: str, amount: int) -> RateDecision | None:
        return await self._limiter.hit(Limit(name, subject, Rate(amount, _WINDOW))) if amount else None


class RateLimit:
    """Counts the request for its caller when it has a valid credential, else for its address.

    Never for both: otherwise anybody could use up the address of an office and lock out those who are signed in behind
    it.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(LIMITED) or scope["method"] == "OPTIONS":
            await self._app(scope, receive, send)
            return
        container = scope["app"].state.container
        limits: RequestLimits = container.limits
        subject = await _subject(container.verifier, Headers(scope=scope))
        if subject is None:  # not signed in: whether that matters is the route's to say
            decision = await limits.hit_address(client_address(scope), scope["path"])
        else:
            decision = await limits.hit_caller(subject)
        refused: DocuChatError | None = scope.get(REFUSED)
        app = self._app if refused is None else response_for(refused, scope.get("request_id"))
        if decision is None:
            await app(scope, receive, send)
            return
        headers = _headers_of(decision)

        async def send_with_limits(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        if decision.allowed:
            await app(scope, receive, send_with_limits)
            return
        if subject is None and refused is None and scope["path"] in _SIGN_IN:
            turn = scope[TURN] = limits.turns.turn_of(client_address(scope), scope["path"])
            try:
                await app(scope, receive, send_with_limits)
            finally:
                turn.end()
            return
        await response_for(refusal(decision), scope.get("request_id"))(scope, receive, send_with_limits)


async def _subject(verifier: Admission, headers: Headers) -> str | None:
    try:
        identity = await verifier.identify(bearer_token(headers))
    except DocuChatError:
        return None
    return identity.caller.holder


def refusal(decision: RateDecision) -> RateLimited:
    """The error for a decision that does not allow."""
    seconds = max(1, math.ceil(decision.reset_after.total_seconds()))
    return RateLimited(
        f"More than {decision.limit.rate.amount} requests a minute; try again in {seconds} s.",
        retry_after=decision.reset_after,
        limit=decision.limit.rate.amount,
    )


def _headers_of(decision: RateDecision) -> list[tuple[bytes, bytes]]:
    reset = max(1, math.ceil(decision.reset_after.total_seconds()))
    return [
        (b"ratelimit-limit", str(decision.limit.rate.amount).encode()),
        (b"ratelimit-remaining", str(decision.remaining).encode()),
        (b"ratelimit-reset", str(reset).encode()),
    ]
