"""What is taken back stops on every replica of the gateway: keys within 2 s, what is open within 5 s; measured."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from docuchat_testkit.faults import parts_of
from docuchat_testkit.product import Product, User, small_pdf, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_REPLICAS: Final = 3
_KEY_SECONDS: Final = 2.0
_OPEN_SECONDS: Final = 5.0
_ROUNDS: Final = 5
_QUESTION: Final = {"message": "When is the picnic?"}


@dataclass(frozen=True)
class Replicas:
    """A product whose gateway runs several times, each at an address of its own."""

    product: Product
    urls: tuple[str, ...]


@pytest.fixture(scope="module")
def replicas(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    with started_test_product(folder, breakable_servers, redis_number=3, provider=stub_provider_process) as product:
        more = [product.running.add_replica("gateway").url for _ in range(_REPLICAS - 1)]
        yield Replicas(product, (product.url, *more))


@pytest.fixture
async def owner(replicas: Replicas, stub_provider: StubProviderHandle) -> AsyncIterator[User]:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=4000, rate=20))
    async with replicas.product.user(await replicas.product.new_tenant()) as user:
        await user.ready(small_pdf(("The picnic is on Sunday.",)))
        yield user


async def new_key(owner: User) -> tuple[str, str]:
    made = (await owner.http.post("/v1/api-keys", json={"name": "k", "scopes": ["documents.read"]})).json()
    return made["id"], made["secret"]


async def last_admitted(url: str, key: str) -> float:
    """Ask with a key without a pause until it is refused; when the last request that was admitted left."""
    admitted = float("-inf")
    async with httpx2.AsyncClient(base_url=url, headers={"X-API-Key": key}, trust_env=False, timeout=30) as http:
        while True:
            asked = time.monotonic()
            answer = await http.get("/v1/files")
            if answer.status_code != 200:
                assert answer.status_code in {401, 503}, answer.text
                return admitted
            admitted = asked
            await asyncio.sleep(0.01)


async def is_known(urls: tuple[str, ...], key: str) -> None:
    for url in urls:
        async with httpx2.AsyncClient(base_url=url, headers={"X-API-Key": key}, trust_env=False) as http:
            assert (await http.get("/v1/files")).status_code == 200


async def test_a_revoked_key_and_a_rotated_secret_are_refused_by_every_replica(replicas: Replicas, owner: User) -> None:
    slowest: dict[str, float] = {}
    for number in range(_ROUNDS * 2):
        key_id, secret = await new_key(owner)
        await is_known(replicas.urls, secret)
        asking = [asyncio.create_task(last_admitted(url, secret)) for url in replicas.urls]
        act = "revoked" if number % 2 else "rotated"
        if act == "revoked":
            answer = await owner.http.delete(f"/v1/api-keys/{key_id}")
        else:
            answer = await owner.http.post(f"/v1/api-keys/{key_id}/rotate", json={"overlap_seconds": 0})
        done = time.monotonic()
        assert answer.status_code in {201, 204}, answer.text
        took = max(0.0, *(last - done for last in await asyncio.gather(*asking)))
        slowest[act] = max(slowest.get(act, 0.0), took)
    print(f"\nrevocation of keys, {_ROUNDS} rounds each on {_REPLICAS} gateways, slowest: {shown(slowest)}")
    assert max(slowest.values()) <= _KEY_SECONDS


async def test_while_auth_is_away_a_known_key_lives_two_seconds_at_most(replicas: Replicas, owner: User) -> None:
    auth = parts_of(replicas.product)["auth"]
    slowest: dict[str, float] = {}
    for number in range(_ROUNDS):
        kind = "known for a while" if number % 2 else "known just now"
        _, secret = await new_key(owner)
        await is_known(replicas.urls, secret)
        if number % 2:
            await asyncio.sleep(0.9)  # more than once asked what was taken back
        asking = [asyncio.create_task(last_admitted(url, secret)) for url in replicas.urls]
        await asyncio.sleep(0.1)
        auth.freeze()
        frozen = time.monotonic()
        try:
            took = max(0.0, *(last - frozen for last in await asyncio.gather(*asking)))
        finally:
            auth.thaw()
        slowest[kind] = max(slowest.get(kind, 0.0), took)
        await replicas.product.healthy(30)
    print(f"\nknown keys while auth is frozen, {_ROUNDS} rounds on {_REPLICAS} gateways, slowest: {shown(slowest)}")
    assert max(slowest.values()) <= _KEY_SECONDS


def shown(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in seconds.items())


Act = Callable[[User], Awaitable[httpx2.Response]]


@asynccontextmanager
async def everything_open(user: User, urls: tuple[str, ...]) -> AsyncIterator[list[asyncio.Task[tuple[float, str]]]]:
    """On each gateway two sockets, one in the midst of an answer, and an answer as events: when and why each ends."""
    async with AsyncExitStack() as stack:
        ends: list[asyncio.Task[tuple[float, str]]] = []
        for url in urls:
            here = replace(user, gateway_url=url)
            for asks in (False, True):
                socket = await stack.enter_async_context(here.socket())
                if asks:
                    await socket.send(json.dumps(_QUESTION))
                    await socket.recv()
                else:
                    await socket.ping()
                ends.append(asyncio.create_task(socket_end(socket)))
            http = await stack.enter_async_context(
                httpx2.AsyncClient(base_url=url, headers=user.headers, trust_env=False, timeout=60)
            )
            events = await stack.enter_async_context(
                http.stream("POST", "/v1/chat", json={**_QUESTION, "stream": True})
            )
            lines = events.aiter_lines()
            assert (await anext(lines)) == "event: start"
            ends.append(asyncio.create_task(stream_end(lines)))
        yield ends


async def socket_end(socket: Any) -> tuple[float, str]:
    last: dict[str, Any] = {}
    try:
        while True:
            last = json.loads(await socket.recv())
    except ConnectionClosed:
        return time.monotonic(), str(last.get("code"))


async def stream_end(lines: AsyncIterator[str]) -> tuple[float, str]:
    code = "cut"
    async for line in lines:
        if line.startswith("data: ") and '"error"' in line:
            code = json.loads(line.removeprefix("data: "))["code"]
    return time.monotonic(), code


async def test_what_is_open_ends_on_every_replica(replicas: Replicas, owner: User) -> None:
    product = replicas.product
    group = (await owner.http.post("/v1/groups", json={"name": "Readers"})).json()["id"]
    key = json.loads((product.running.folder / "operator.json").read_text())["key"]

    async def session_of(user: User) -> httpx2.Response:
        (session,) = [one for one in (await user.http.get("/v1/sessions")).json()["items"] if one["is_current"]]
        return await user.http.delete(f"/v1/sessions/{session['id']}")

    async def suspend(_: User) -> httpx2.Response:
        async with product.client() as http:
            token = (await http.post("/v1/operator/token", json={"key": key})).json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            path = f"/v1/operator/tenants/{owner.tenant_id}"
            return await http.patch(path, json={"suspended": True}, headers=headers)

    acts: dict[str, tuple[Act, str]] = {
        "role change": (
            lambda user: owner.http.patch(f"/v1/users/{user.id}", json={"role": "viewer"}), "token_outdated"
        ),
        "removal from a group": (
            lambda user: owner.http.delete(f"/v1/groups/{group}/members/{user.id}"), "token_outdated"
        ),
        "end of the session": (session_of, "session_ended"),
        "deactivation": (
            lambda user: owner.http.patch(f"/v1/users/{user.id}", json={"active": False}), "token_outdated"
        ),
        "suspension of the tenant": (suspend, "tenant_suspended"),
    }  # fmt: skip
    slowest: dict[str, float] = {}
    for number, (name, (act, code)) in enumerate(acts.items()):
        email = f"victim{number}@example.com"
        async with product.user(owner.tenant_id, email) as newcomer:
            added = await owner.http.put(f"/v1/groups/{group}/members/{newcomer.id}")
            assert added.status_code == 204, added.text
        async with (
            product.user(owner.tenant_id, email) as victim,
            everything_open(victim, replicas.urls) as ends,
        ):
            answer = await act(victim)
            done = time.monotonic()
            assert answer.status_code in {200, 204}, answer.text
            ended = await asyncio.gather(*ends)
        assert {why for _, why in ended} <= {code, "session_ended", "token_outdated"}, ended
        assert code in {why for _, why in ended}, ended
        slowest[name] = max(0.0, *(moment - done for moment, _ in ended))
    count = 3 * _REPLICAS
    print(f"\nopen sockets and streams ({count} of {_REPLICAS} gateways) after each act, slowest: {shown(slowest)}")
    assert max(slowest.values()) <= _OPEN_SECONDS
