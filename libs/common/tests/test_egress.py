"""What a user may have us call: nothing that is not public, whatever it is called, wherever it leads."""

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from yarl import URL

from docuchat_common.egress import (
    EgressPolicy,
    EgressSettings,
    GuardedConnector,
    UrlRefused,
    UrlUnreachable,
    is_public,
    open_egress,
)

STRICT = EgressPolicy()
HERE = ipaddress.ip_network("127.0.0.0/8")
NAMED = frozenset({"127.0.0.1", "moves.example"})

REFUSED = """
0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.1.2.3 169.254.0.1 169.254.169.254
169.254.170.2 100.100.100.200 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1
198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 ::10.0.0.1 64:ff9b::127.0.0.1
64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1:: 2001:db8::1 2002:7f00:1:: 2002:a00:1:: 2002:808:808::
3fff::1 5f00::1 fc00::1 fd00:ec2::254 fdff::1 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1
""".split()
PUBLIC = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 169.253.255.255 169.255.0.0
172.15.255.255 172.32.0.0 192.0.1.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 223.255.255.255
2606:4700:4700::1111 2a00:1450:4001:80b::200e ::ffff:8.8.8.8 64:ff9b::8.8.8.8
""".split()


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_not_public_is_refused(address: str) -> None:
    assert STRICT.refuses(address, 443) is not None


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_called(address: str) -> None:
    assert STRICT.refuses(address, 443) is None
    assert STRICT.refuses(address, 22) == "port"


@given(st.ip_addresses(v=4))
def test_no_spelling_of_an_address_changes_the_answer(address: ipaddress.IPv4Address) -> None:
    mapped = f"::ffff:{address}"
    translated = str(ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address)))
    assert {STRICT.refuses(text, 443) for text in (str(address), mapped, translated)} in (
        {None},
        {"not public"},
        {"metadata"},
    )
    assert not (is_public(address) and (address.is_private or address.is_multicast or address.is_reserved))


@given(st.ip_addresses(v=6))
def test_an_address_that_python_calls_private_is_never_public(address: ipaddress.IPv6Address) -> None:
    if address.ipv4_mapped is None and is_public(address) and address not in ipaddress.ip_network("64:ff9b::/96"):
        assert address.is_global
        assert not (address.is_private or address.is_multicast or address.is_reserved or address.is_link_local)


@pytest.mark.parametrize("text", ["localhost", "", "1.2.3", "0x7f.1", "2130706433", "1.1.1.1%eth0", "010.0.0.1"])
def test_what_is_no_numeric_address_is_not_connected_to(text: str) -> None:
    assert STRICT.refuses(text, 443) == "no address"


def test_metadata_stays_refused_in_networks_that_are_allowed() -> None:
    everything = replace(STRICT, networks=(ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")))
    assert everything.refuses("10.0.0.7", 8443, is_named=True) is None
    assert everything.refuses("10.0.0.7", 443) == "not public", "nobody has named it"
    for address in (
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "fd00:ec2::254",
        "100.100.100.200",
        "168.63.129.16",
    ):
        assert {everything.refuses(address, 443, is_named=named) for named in (True, False)} == {"metadata"}


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com", "//example.com",
        "https://user@example.com/", "https://user:secret@example.com/", "https://:secret@example.com/",
        "https://example.com:22/", "https://", "example.com", "",
    ],
)  # fmt: skip
async def test_a_url_is_refused_by_what_it_says(url: str) -> None:
    async with open_egress(STRICT) as egress:
        with pytest.raises((UrlRefused, UrlUnreachable)):
            await egress.fetch("GET", url)
    with pytest.raises(UrlUnreachable):
        STRICT.assert_allowed(URL("https://Metadata.Google.Internal./computeMetadata"))


class Places(AbstractResolver):
    """Answers each question with the next of these addresses."""

    def __init__(self, *answers: Iterable[str]) -> None:
        self.answers = [list(answer) for answer in answers]
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in answer
        ]

    async def close(self) -> None:
        pass


class Server:
    """A server on 127.0.0.1 that should not be reached."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.port = 0
        self.over = asyncio.Event()
        self.news = asyncio.Condition()

    async def asked(self, path: str, times: int) -> None:
        """Until so many requests have come."""
        async with self.news:
            await self.news.wait_for(lambda: self.requests.count(path) >= times)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        async with self.news:
            self.requests.append(request.path)
            self.news.notify_all()
        assert "Authorization" not in request.headers
        if request.path == "/to":
            raise web.HTTPFound(request.query["url"])
        if request.path == "/loop":
            raise web.HTTPFound("/loop")
        if request.path == "/long":
            return web.Response(body=b"x" * 5000)
        if request.path == "/packed":
            return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
        if request.path == "/never":
            await self.over.wait()
        return web.Response(text="inside")


@pytest_asyncio.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.port = runner.addresses[0][1]
    yield server
    server.over.set()
    await runner.cleanup()


def inside(**changes: object) -> EgressPolicy:
    """A policy of an installation whose identity provider is on this machine."""
    return replace(EgressPolicy(allow_http=True, networks=(HERE,), hosts=NAMED), **changes)  # type: ignore[arg-type] - fields of it


async def test_a_server_on_this_machine_is_reached_only_where_a_setting_names_its_network(server: Server) -> None:
    port = frozenset({server.port})
    for policy in (EgressPolicy(allow_http=True), EgressPolicy(allow_http=True, ports=port)):
        async with open_egress(policy) as egress:
            for host in (
                "127.0.0.1",
                "localhost",
                "0.0.0.0",
                "127.1",
                "2130706433",
                "0x7f000001",
                "[::ffff:127.0.0.1]",
            ):
                with pytest.raises((UrlRefused, UrlUnreachable)):
                    await egress.fetch("GET", server.url(host=host))
    assert server.requests == []
    async with open_egress(inside()) as egress:
        answer = await egress.fetch("GET", server.url("/hello"))
    assert (answer.status, answer.body, server.requests) == (200, b"inside", ["/hello"])


async def test_inside_only_a_host_is_called_that_the_operator_names(server: Server) -> None:
    places = Places(["127.0.0.1"])
    policy = inside(hosts=frozenset({"idp.internal", f"wiki.internal:{server.port + 1}"}))
    async with open_egress(policy, resolver=places) as egress:
        assert (await egress.fetch("GET", server.url(host="IDP.internal"))).status == 200
        for host in ("wiki.internal", "127.0.0.1", "evil.example"):
            for path in (server.url(host=host), server.url(f"/to?url={server.url(host=host)}", "idp.internal")):
                with pytest.raises((UrlRefused, UrlUnreachable)):
                    await egress.fetch("GET", path)
    policy = inside(hosts=frozenset({"idp.internal"}), ports=frozenset({server.port}))
    async with open_egress(policy, resolver=places) as egress:  # also where its port is one that is called outside
        with pytest.raises(UrlUnreachable):
            await egress.fetch("GET", server.url(host="evil.example"))
    assert server.requests == ["/", "/to", "/to", "/to"]


async def test_a_name_is_judged_by_the_address_that_is_connected_to(server: Server) -> None:
    # first it names a public place, then this machine: whoever asks twice connects to what it did not check
    rebinding = Places(["93.184.216.34"], ["127.0.0.1"])
    assert (await rebinding.resolve("rebind.example"))[0]["host"] == "93.184.216.34"
    for places in (rebinding, Places(["127.0.0.1"]), Places(["169.254.169.254", "127.0.0.1"]), Places(["localhost"])):
        policy = EgressPolicy(allow_http=True, ports=frozenset({server.port}))
        async with open_egress(policy, resolver=places) as egress:
            with pytest.raises(UrlUnreachable):
                await egress.fetch("GET", server.url(host="rebind.example"))
    assert server.requests == []


async def test_what_a_name_meant_is_not_remembered(server: Server) -> None:
    places = Places(["127.0.0.2"], ["127.0.0.1"])
    async with open_egress(inside(), resolver=places) as egress:
        with pytest.raises(UrlUnreachable):
            await egress.fetch("GET", server.url(host="moves.example"))  # nobody listens there
        assert (await egress.fetch("GET", server.url(host="moves.example"))).status == 200
    assert places.asked == 2


async def test_every_redirect_is_checked_and_there_are_few(server: Server) -> None:
    async with open_egress(inside(max_redirects=2)) as egress:
        followed = await egress.fetch("GET", server.url(f"/to?url={server.url('/there')}"))
        assert (followed.body, followed.url) == (b"inside", server.url("/there"))
        for target in ("http://169.254.169.254/", "http://10.0.0.1/", "ftp://127.0.0.1/", "http://metadata/"):
            with pytest.raises((UrlRefused, UrlUnreachable)):
                await egress.fetch("GET", server.url(f"/to?url={target}"))
        server.requests.clear()
        with pytest.raises(UrlUnreachable):
            await egress.fetch("GET", server.url("/loop"))
        assert len(server.requests) == 3, "the first one and two redirects"
        assert (await egress.fetch("POST", server.url("/loop"), data=b"x")).status == 302, "only a GET is sent on"
    async with open_egress(replace(inside(), allow_http=False)) as egress:
        with pytest.raises(UrlRefused):
            await egress.fetch("GET", server.url())


async def test_answers_are_bounded_in_size_and_time(server: Server) -> None:
    async with open_egress(inside(max_bytes=4096)) as egress:
        for path in ("/long", "/packed"):
            with pytest.raises(UrlUnreachable):
                await egress.fetch("GET", server.url(path))
    async with open_egress(inside(timeout=timedelta(milliseconds=50))) as egress:
        with pytest.raises(UrlUnreachable):
            await egress.fetch("GET", server.url("/never"))


async def test_a_lane_that_is_slow_keeps_no_other_one_waiting(server: Server) -> None:
    async with open_egress(inside()) as egress:
        slow = [asyncio.create_task(egress.fetch("GET", server.url("/never"), lane="slow")) for _ in range(20)]
        await server.asked("/never", 4)
        assert (await egress.fetch("GET", server.url("/quick"), lane="quick")).status == 200
        assert server.requests.count("/never") == 4, "the others of the lane wait"
        server.over.set()
        await asyncio.gather(*slow)
        with pytest.raises(UrlUnreachable):
            await egress.fetch("GET", server.url("/long"), max_bytes=4999)


async def test_the_environment_names_no_proxy_and_no_password(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login root password secret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with open_egress(inside()) as egress:
        assert (await egress.fetch("GET", server.url())).body == b"inside"


async def test_a_library_with_the_connector_in_its_own_client_gets_no_further(server: Server) -> None:
    async with aiohttp.ClientSession(connector=GuardedConnector(inside(networks=(), hosts=frozenset()))) as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(server.url().replace(str(server.port), "80"))
        with pytest.raises(UrlRefused):
            await session.get(server.url())
        with pytest.raises(UrlRefused):
            await session.get("http://example.com", proxy=server.url())
    assert server.requests == []


def test_an_operator_names_networks_and_ports() -> None:
    class Settings(EgressSettings):
        pass

    policy = Settings.model_validate(
        {
            "egress_networks": "10.1.0.0/16, fd12::/48",
            "egress_hosts": "Login.acme.internal, idp.internal:8444",
            "egress_ports": "443,8443",
            "egress_allow_http": True,
        }
    ).egress_policy()
    assert policy.refuses("10.1.2.3", 5000, is_named=True) is None
    assert policy.refuses("fd12::1", 443, is_named=True) is None
    assert policy.refuses("10.2.0.1", 443, is_named=True) == "not public"
    for url, is_named in {
        "https://login.acme.internal:5000/x": True,
        "https://LOGIN.acme.internal./": True,
        "https://idp.internal:8444/": True,
        "https://idp.internal/": False,
        "https://wiki.internal/": False,
    }.items():
        assert policy.names(URL(url)) is is_named, url
    assert (policy.ports, policy.allow_http) == (frozenset({443, 8443}), True)
    with pytest.raises(ValidationError, match="EGRESS_HOSTS"):
        Settings.model_validate({"egress_networks": "10.1.0.0/16"})
    for wrong in ({"egress_networks": "10.1.0.0/33"}, {"egress_networks": "10.1.2.3/16"}, {"egress_ports": "0"}):
        with pytest.raises(ValidationError):
            Settings.model_validate(wrong)
