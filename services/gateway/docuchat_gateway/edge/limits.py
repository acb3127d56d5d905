"""The rate limit as ASGI middleware: before anything else is done for a request, and streams pass through untouched."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from weakref import WeakValueDictionary

from starlette.datastructures import Headers
from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from docuchat_common.errors import DocuChatError, RateLimited
from docuchat_common.http.addresses import limited_address
from docuchat_common.http.caller import Caller
from docuchat_common.http.identity import bearer_token
from docuchat_common.http.problems import response_for
from docuchat_common.http.slots import Slot
from docuchat_common.rate_limits import Limit, Rate, RateDecision, RateLimiter
from docuchat_gateway.edge.requests import client_address
from docuchat_gateway.edge.standing import Admission
from docuchat_gateway.edge.table import TABLE

LIMITED: Final = ("/v1/", "/scim/", "/.well-known/", "/mcp")
"""Prefixes of what is counted; health, metrics, documentation and the WebSocket (which counts messages) are not."""

REFUSED: Final = "docuchat.refused"
"""In the scope of a request whose credential was refused already: why."""

TURN: Final = "docuchat.turn"
"""In the scope of a request that comes from a busy address: its turn, to be taken before a service is asked."""

_SIGN_IN: Final = [
    (row.path, compile_path(row.path)[0]) for row in TABLE if row.service == "auth" and row.action == "public"
]
_WINDOW: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class SignIn:
    """A path of signing in, by its template; `whose` is its first parameter, a tenant or a provider."""

    template: str
    whose: str | None

    @classmethod
    def find(cls, path: str) -> "SignIn | None":
        """What a request's path is; None for any other."""
        for template, pattern in _SIGN_IN:
            if match := pattern.match(path):
                return cls(template, next(iter(match.groups()), None))
        return None


class Turns:
    """Whoever signs in at an address that has used up its limit waits for a turn.

    Nobody can tell junk from a credential that is right before auth has looked at it: so the one does not refuse the
    other, and junk costs no more than so many requests at once; half of them at most at one tenant's or provider's
    path, because that may be slow to answer.
    """

    AT_ONCE: Final = 8
    WAITING: Final = 100
    PATIENCE: Final = timedelta(seconds=10)

    def __init__(self) -> None:
        self._lanes: WeakValueDictionary[str, _Lane] = WeakValueDictionary()

    def turn_of(self, address: str, place: SignIn) -> "Turn":
        """A turn at a path, not taken yet."""
        name = f"{limited_address(address)}:{place.template}"
        lanes = [self._lane(name, 1)]
        if place.whose is not None:
            lanes.insert(0, self._lane(f"{name}:{place.whose}", 2))
        return Turn(lanes)

    def _lane(self, name: str, part: int) -> "_Lane":
        return self._lanes.setdefault(name, _Lane(self.AT_ONCE // part, self.WAITING // part))


class _Lane:
    def __init__(self, at_once: int, most_waiting: int) -> None:
        self.room = asyncio.Semaphore(at_once)
        self.most_waiting = most_waiting
        self.waiting = 0


class Turn:
    """One request's turn."""

    def __init__(self, lanes: Sequence[_Lane]) -> None:
        self._lanes = lanes
        self._slot = Slot(tuple(lane.room for lane in lanes))

    async def take(self) -> None:
        """Wait for it, once the client has sent all: who is slow keeps nobody waiting. Raises RateLimited."""
        if any(lane.waiting >= lane.most_waiting for lane in self._lanes):
            raise RateLimited(retry_after=Turns.PATIENCE)
        for lane in self._lanes:
            lane.waiting += 1
        try:
            async with asyncio.timeout(Turns.PATIENCE.total_seconds()):
                await self._slot.take()
        except TimeoutError as error:
            raise RateLimited(retry_after=Turns.PATIENCE) from error
        finally:
            for lane in self._lanes:
                lane.waiting -= 1

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

    async def hit_address(self, address: str, place: SignIn | None = None) -> RateDecision | None:
        """As `hit_caller`, for an address; each path of signing in counts for itself, whatever its parameters are.

        Otherwise junk that one sends elsewhere would keep all who share the address from signing in, and signed in.
        """
        own = "" if place is None else f":{place.template}"
        return await self._hit("address", f"{limited_address(address)}{own}", self._per_address)

    async def hit_visitor(self, subject: str, address: str) -> RateDecision | None:
        """Count one request of a chatbot's visitor for the address as well: whoever likes can be another visitor."""
        of_address = f"{limited_address(address)}:visitors"
        return await self._hit_all(("user", subject, self._per_user), ("address", of_address, self._per_address))

    async def hit_chatbot(self, subject: str) -> RateDecision | None:
        """Count one request of a chatbot's program, which has as many as an address: many people may ask through it."""
        return await self._hit("user", subject, self._per_address)

    async def hit_new_key(self, address: str) -> RateDecision | None:
        """Count an API key that this address has not yet shown to be good, before anybody knows whether it is."""
        return await self._hit("new-key", limited_address(address), self._per_address)

    async def forgive_new_key(self, address: str) -> None:
        """Take back what `hit_new_key` has counted: the key was good, so only bad ones are counted."""
        if self._per_address:
            subject = limited_address(address)
            await self._limiter.give_back(Limit("new-key", subject, Rate(self._per_address, _WINDOW)))

    async def _hit(self, name: str, subject: str, amount: int) -> RateDecision | None:
        return await self._hit_all((name, subject, amount))

    async def _hit_all(self, *limits: tuple[str, str, int]) -> RateDecision | None:
        named = (Limit(name, subject, Rate(amount, _WINDOW)) for name, subject, amount in limits if amount)
        return await self._limiter.hit(*named)


class RateLimit:
    """Counts the request for its caller when it has a valid credential, else for its address.

    Never for both: otherwise anybody could use up the address of an office and lock out those who are signed in behind
    it. But for a chatbot's visitor, whom nobody knows, and who has a count of the address apart from all others.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(LIMITED) or scope["method"] == "OPTIONS":
            await self._app(scope, receive, send)
            return
        container = scope["app"].state.container
        limits: RequestLimits = container.limits
        caller = await _caller(container.verifier, Headers(scope=scope))
        place: SignIn | None = None
        if caller is None:  # not signed in: whether that matters is the route's to say
            place = SignIn.find(scope["path"])
            decision = await limits.hit_address(client_address(scope), place)
        elif caller.subject_type == "visitor":
            decision = await limits.hit_visitor(caller.holder, client_address(scope))
        elif caller.subject_type == "chatbot":
            decision = await limits.hit_chatbot(caller.holder)
        else:
            decision = await limits.hit_caller(caller.holder)
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
        if place is not None and refused is None:
            turn = scope[TURN] = limits.turns.turn_of(client_address(scope), place)
            try:
                await app(scope, receive, send_with_limits)
            finally:
                turn.end()
            return
        await response_for(refusal(decision), scope.get("request_id"))(scope, receive, send_with_limits)


async def _caller(verifier: Admission, headers: Headers) -> Caller | None:
    try:
        identity = await verifier.identify(bearer_token(headers))
    except DocuChatError:
        return None
    return identity.caller


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
