"""The one way to call an address that a user chose: identity providers, webhooks, crawled pages.

The check stands where the socket is made, on the numeric address that is about to be connected to: no name that
resolves anew, no redirect and no spelling gets around it. What is public is decided by IANA's registries of special
purposes. https://www.iana.org/assignments/iana-ipv4-special-registry https://cheatsheetseries.owasp.org (SSRF)
"""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Hashable, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, Self
from weakref import WeakValueDictionary

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver
from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode
from yarl import URL

from docuchat_common.errors import InvalidInput

logger = structlog.get_logger()

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_NOT_PUBLIC_4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
            "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24",
            "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
        ),
    )
)  # fmt: skip
_PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6: Final = tuple(map(ipaddress.IPv6Network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
"""Inside of 2000::/3: Teredo and other protocols, documentation, 6to4, documentation."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_METADATA: Final[frozenset[IPAddress]] = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)  # fmt: skip
"""Where clouds tell a machine its credentials, one of them a public number: refused wherever it is allowed to call."""
_LANE: Final = 4
"""Calls at once of one lane."""
_METADATA_NAMES: Final = frozenset({"metadata", "metadata.google.internal", "instance-data"})


class UrlRefused(InvalidInput):
    """This URL may not be called: it must be https, without user and password, on a port that is allowed."""

    code = "url_refused"


class UrlUnreachable(InvalidInput):
    """No public server gave a usable answer at this URL."""

    # One answer for what is not there and for what is private: else it would tell of the network inside.
    code = "url_unreachable"


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be called, and how much of an answer is taken."""

    allow_http: bool = False
    ports: frozenset[int] = frozenset({443})
    """With `allow_http` also 80."""
    networks: tuple[IPNetwork, ...] = ()
    """Networks that are not public, where those of `hosts` may be all the same: an identity provider in the house."""
    hosts: frozenset[str] = frozenset()
    """`host`, at any port, or `host:port`: whoever sets a URL would reach everything in those networks without it."""
    max_bytes: int = 2 * 2**20
    max_redirects: int = 3
    timeout: timedelta = timedelta(seconds=10)

    def assert_allowed(self, url: URL) -> None:
        """Raise UrlRefused for what can be told from the URL alone."""
        if url.scheme not in ({"https", "http"} if self.allow_http else {"https"}) or not url.host:
            raise UrlRefused
        if url.user is not None or url.password is not None:
            raise UrlRefused("A URL with a user or a password in it is not called.")
        if url.host.rstrip(".").lower() in _METADATA_NAMES:
            raise UrlUnreachable
        if not self.names(url):
            self._assert_port(url.port)

    def names(self, url: URL) -> bool:
        """Whether `url` is at a host that may be inside of the networks."""
        host = (url.host or "").rstrip(".").lower()
        return not self.hosts.isdisjoint({host, f"{host}:{url.port}"})

    def refuses(self, host: str, port: int, *, is_named: bool = False) -> str | None:
        """Why the numeric address `host`, of one of `hosts` or not, is not connected to; None when it may be."""
        try:
            address = _meant(ipaddress.ip_address(host))
        except ValueError:
            return "no address"
        if address in _METADATA:
            return "metadata"
        if is_named and any(address in network for network in self.networks):
            return None
        if not is_public(address):
            return "not public"
        return None if self._has_port(port) else "port"

    def _has_port(self, port: int | None) -> bool:
        return port in self.ports or (port == 80 and self.allow_http)

    def _assert_port(self, port: int | None) -> None:
        if not self._has_port(port):
            raise UrlRefused("A URL on this port is not called.", ports=sorted(self.ports))


def _listed(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _lower(hosts: frozenset[str]) -> frozenset[str]:
    return frozenset(host.lower() for host in hosts)


class EgressSettings(BaseSettings):
    """What a service that calls addresses of users reads of its environment."""

    egress_allow_http: bool = False
    """Whether `http` may be called as well as `https`."""
    egress_ports: Annotated[frozenset[Annotated[int, Field(ge=1, le=65535)]], NoDecode, BeforeValidator(_listed)] = (
        frozenset({443})
    )
    """Ports of public servers that may be called."""
    egress_networks: Annotated[tuple[IPNetwork, ...], NoDecode, BeforeValidator(_listed)] = ()
    """Networks that are not public, where `egress_hosts` may be all the same: `10.1.0.0/16,fd12::/48`."""
    egress_hosts: Annotated[frozenset[str], NoDecode, BeforeValidator(_listed), AfterValidator(_lower)] = frozenset()
    """Who may be there, and at which port: `login.acme.internal:8443`; without a port at any."""

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.egress_networks and not self.egress_hosts:
            raise ValueError("EGRESS_NETWORKS needs EGRESS_HOSTS: the hosts in there that may be called")
        return self

    def egress_policy(self) -> EgressPolicy:
        """What these settings allow."""
        return EgressPolicy(self.egress_allow_http, self.egress_ports, self.egress_networks, self.egress_hosts)


def is_public(address: IPAddress) -> bool:
    """Whether `address` is one of the public internet."""
    address = _meant(address)
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    return (
        address in _PUBLIC_6 and address.scope_id is None and not any(address in network for network in _NOT_PUBLIC_6)
    )


def _meant(address: IPAddress) -> IPAddress:
    """The IPv4 address that a mapped or translated (NAT64) one leads to; any other is itself."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


_is_named: ContextVar[bool] = ContextVar("_is_named", default=False)
"""Whether the connection that is being made is to a host that the policy names."""


class GuardedConnector(aiohttp.TCPConnector):
    """Connects to what the policy allows and to nothing else, whoever uses it."""

    def __init__(self, policy: EgressPolicy, resolver: AbstractResolver | None = None, *, per_host: int = 8) -> None:
        """`per_host` is how many connections one host may have at once."""
        super().__init__(
            limit=400, limit_per_host=per_host, resolver=resolver, use_dns_cache=False, socket_factory=self._make_socket
        )
        self._policy = policy

    async def connect(self, req: Any, traces: Any, timeout: aiohttp.ClientTimeout) -> Any:
        """Check the URL of each request, redirected ones and those on a kept connection as well."""
        if req.proxy is not None:
            raise UrlRefused("Nothing is called through a proxy.")
        self._policy.assert_allowed(req.url)
        before = _is_named.set(self._policy.names(req.url))
        try:
            return await super().connect(req, traces, timeout)
        finally:
            _is_named.reset(before)

    def _make_socket(self, addr_info: Any) -> socket.socket:
        family, kind, protocol, _, place = addr_info
        reason = self._policy.refuses(place[0], place[1], is_named=_is_named.get())
        if reason is not None:
            logger.warning("egress.refused", reason=reason)
            raise PermissionError("this address is not called")
        return socket.socket(family=family, type=kind, proto=protocol)


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    """Where it came from, after redirects."""


class Egress:
    """Calls what users chose. Whoever's servers are slow waits alone: each lane has a few calls at once."""

    def __init__(self, session: aiohttp.ClientSession, policy: EgressPolicy) -> None:
        self._session = session
        self._policy = policy
        self._lanes: WeakValueDictionary[Hashable, asyncio.Semaphore] = WeakValueDictionary()

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | Mapping[str, str] | None = None,
        lane: Hashable = None,
        max_bytes: int | None = None,
    ) -> Fetched:
        """The answer, whatever its status; only a GET follows redirects. Raises UrlRefused, UrlUnreachable.

        `lane` is for whom it is called, such as a tenant; `max_bytes` takes less of an answer than the policy does.
        """
        room = self._lanes.setdefault(lane, asyncio.Semaphore(_LANE))
        try:
            target = URL(url)
            self._policy.assert_allowed(target)
            async with (
                asyncio.timeout(self._policy.timeout.total_seconds()),
                room,
                self._session.request(
                    method,
                    target,
                    # an answer that is not packed cannot burst
                    headers={"Accept-Encoding": "identity", **(headers or {})},
                    data=data,
                    allow_redirects=method == "GET",
                    max_redirects=self._policy.max_redirects + 1,  # the one that it refuses
                ) as response,
            ):
                body = await self._read(response, min(max_bytes or self._policy.max_bytes, self._policy.max_bytes))
                return Fetched(response.status, dict(response.headers), body, str(response.url))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            logger.info("egress.failed", reason=type(error).__name__)
            raise UrlUnreachable from error

    @staticmethod
    async def _read(response: aiohttp.ClientResponse, most: int) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UrlUnreachable("The answer is packed, although it was asked for as it is.")
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > most:
                raise UrlUnreachable(f"The answer is longer than {most} bytes.")
        return bytes(body)


@asynccontextmanager
async def open_egress(policy: EgressPolicy, *, resolver: AbstractResolver | None = None) -> AsyncIterator[Egress]:
    """A client of its own: no proxy and no credentials out of the environment, no cookies, nothing unpacked."""
    async with aiohttp.ClientSession(
        connector=GuardedConnector(policy, resolver),
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    ) as session:
        yield Egress(session, policy)
