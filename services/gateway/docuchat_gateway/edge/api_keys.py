"""API keys: exchanged at auth for a short token, which takes the key's place before anything reads the credential."""

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Final, Protocol, TypeVar

from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Receive, Scope, Send

from docuchat_common.contracts.api_keys import PREFIX, KeyToken, parse_api_key
from docuchat_common.errors import DocuChatError, Forbidden, Unauthenticated, UpstreamUnavailable
from docuchat_common.http.claims import Identity
from docuchat_common.http.identity import InvalidApiKey
from docuchat_gateway.edge.errors import SessionEnded, TokenOutdated, TwoCredentials
from docuchat_gateway.edge.limits import LIMITED, REFUSED, RequestLimits, refusal
from docuchat_gateway.edge.requests import client_address
from docuchat_gateway.edge.standing import Admission

HEADER: Final = "X-API-Key"
RENEW: Final = "docuchat.renew"
"""In the scope of a request that came with a key: gives its identity anew, for what outlives a token."""

_exchanges = Counter("docuchat_api_key_exchanges", "API keys that auth was asked about.", ["outcome"])

ExchangeKey = Callable[[str, str], Awaitable[KeyToken]]
"""Asks auth for a token for a key and the address of who showed it. Raises what auth answers."""

_V = TypeVar("_V")


class GoodKeys(Protocol):
    """What all gateways remember of keys that were good at an address, by their SHA-256."""

    async def knows(self, name: bytes) -> bool:
        """Whether it was good lately; no, when nobody can tell."""

    async def note(self, name: bytes) -> None:
        """Remember it."""


class _Bounded(OrderedDict[bytes, _V]):
    """Forgets what was put longest ago."""

    MOST: Final = 10_000

    def put(self, key: bytes, value: _V) -> None:
        self[key] = value
        self.move_to_end(key)
        if len(self) > self.MOST:
            self.popitem(last=False)


@dataclass(frozen=True, slots=True)
class _Admitted:
    identity: Identity
    asked_at: float


class ApiKeyIdentities:
    """Who a key is, remembered by its SHA-256 until the token ends or auth takes something back.

    While auth does not say what it takes back, an identity is two seconds old at most. Auth is asked about the same
    junk once in a while, and by a network so often a minute about keys that turn out to be bad.
    """

    YOUNG: Final = timedelta(seconds=2)
    HEARD: Final = timedelta(seconds=1)
    """Revisions are followed twice a second; an older answer of auth may miss a revocation."""
    JUNK: Final = timedelta(seconds=5)

    def __init__(
        self,
        exchange: ExchangeKey,
        admission: Admission,
        limits: RequestLimits,
        good_keys: GoodKeys,
        *,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`elapsed` are seconds that only grow."""
        self._exchange = exchange
        self._admission = admission
        self._limits = limits
        self._good_keys = good_keys
        self._elapsed = elapsed
        self._admitted: _Bounded[_Admitted] = _Bounded()
        self._refused: _Bounded[tuple[float, DocuChatError]] = _Bounded()
        self._asking: dict[bytes, asyncio.Task[Identity]] = {}

    async def identify(self, key: str, address: str) -> Identity:
        """Who shows `key` at `address`.

        Raises InvalidApiKey, AddressNotAllowed, RateLimited, and UpstreamUnavailable when auth does not answer.
        """
        name = hashlib.sha256(f"{key.strip()} {address}".encode()).digest()
        admitted = self._admitted.get(name)
        if admitted is not None and self._is_good(admitted):
            return admitted.identity
        if parse_api_key(key) is None:
            raise InvalidApiKey
        refused_until, why = self._refused.get(name, (float("-inf"), None))
        if why is not None and self._elapsed() < refused_until:
            raise why
        task = self._asking.get(name) or self._ask(name, key, address, is_new=admitted is None)
        return await asyncio.shield(task)

    def _is_good(self, admitted: _Admitted) -> bool:
        standing = self._admission.standing
        if admitted.identity.expires_at <= time.time() or standing.refusal(admitted.identity) is not None:
            return False
        age = self._elapsed() - admitted.asked_at
        return standing.age <= self.HEARD.total_seconds() or age <= self.YOUNG.total_seconds()

    def _ask(self, name: bytes, key: str, address: str, *, is_new: bool) -> asyncio.Task[Identity]:
        exchange = self._first_exchanged if is_new else self._exchanged
        task = self._asking[name] = asyncio.create_task(exchange(name, key, address))

        def done(finished: asyncio.Task[Identity]) -> None:
            del self._asking[name]
            if not finished.cancelled():
                finished.exception()  # who asked may have gone

        task.add_done_callback(done)
        return task

    async def _first_exchanged(self, name: bytes, key: str, address: str) -> Identity:
        """Of a key that this process does not know: bad ones that others show must not keep a good one out."""
        decision = await self._limits.hit_new_key(address)
        is_counted = decision is not None and decision.allowed
        if decision is not None and not decision.allowed and not await self._good_keys.knows(name):
            raise refusal(decision)
        try:
            identity = await self._exchanged(name, key, address)
        except UpstreamUnavailable:
            if is_counted:
                await self._limits.forgive_new_key(address)
            raise
        if is_counted:
            await self._limits.forgive_new_key(address)
        await self._good_keys.note(name)
        return identity

    async def _exchanged(self, name: bytes, key: str, address: str) -> Identity:
        asked_at = self._elapsed()
        try:
            token = await self._exchange(key, address)
            identity = await self._admission.verify(token.access_token)
        except (Unauthenticated, Forbidden) as error:
            why = InvalidApiKey() if isinstance(error, SessionEnded) else error
            _exchanges.labels(why.code).inc()
            if not isinstance(error, TokenOutdated):  # the next token is of today
                self._refused.put(name, (self._elapsed() + self.JUNK.total_seconds(), why))
            raise why from error
        _exchanges.labels("admitted").inc()
        self._admitted.put(name, _Admitted(identity, asked_at))
        return identity


class ApiKeyCredential:
    """Puts a token in the place of a request's key; of one that is refused it leaves the reason and no credential."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" or (scope["type"] == "http" and scope["path"].startswith(LIMITED)):
            await self._replace(scope)
        await self._app(scope, receive, send)

    @staticmethod
    async def _replace(scope: Scope) -> None:
        headers = MutableHeaders(raw=list(scope["headers"]))
        identities: ApiKeyIdentities = scope["app"].state.container.api_keys
        try:
            key = _key_of(headers)
            if key is None:
                return
            renew = partial(identities.identify, key, client_address(scope))
            identity = await renew()
        except DocuChatError as error:
            del headers["authorization"]
            scope[REFUSED] = error
        else:
            headers["authorization"] = f"Bearer {identity.token}"
            scope[RENEW] = renew
        del headers[HEADER]
        scope["headers"] = headers.raw


def _key_of(headers: Headers) -> str | None:
    """The key of a request, None when it has none. Raises TwoCredentials, and InvalidApiKey for what cannot be one."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    token = bearer.strip() if scheme.lower() == "bearer" else ""
    shown = {key.strip() for key in headers.getlist(HEADER)}
    if not shown:
        return token if token.startswith(PREFIX) else None
    if len(shown | ({token} if token else set())) > 1:
        raise TwoCredentials
    key = shown.pop()
    if not key.startswith(PREFIX):
        raise InvalidApiKey
    return key
