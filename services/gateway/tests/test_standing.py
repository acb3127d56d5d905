"""Tokens are refused, and sockets and streams ended, for what auth says since they were signed."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import AsyncMock
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from services.gateway.tests.conftest import PDF, Gateway, OpenGateway
from services.gateway.tests.fakes import Behind, Chat, event
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from docuchat_common.contracts.public_answers import TENANT_HEADER
from docuchat_common.contracts.revisions import PAGE, Revision, RevisionPage
from docuchat_common.contracts.revisions import PATH as REVISIONS
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.claims import Identity
from docuchat_common.ids import TenantId
from docuchat_gateway.adapters.revisions import AuthRevisions
from docuchat_gateway.edge.errors import SessionEnded, TenantSuspended, TokenOutdated
from docuchat_gateway.edge.standing import Standing
from docuchat_testkit.eventually import eventually


@pytest.fixture
def chat(behind: Behind) -> Chat:
    return Chat(behind)


async def code_of(gateway: Gateway, headers: dict[str, str], method: str = "GET", path: str = "/v1/chats") -> Any:
    async with gateway.http.request(method, path, headers=headers) as response:
        return (response.status, (await response.json()).get("code"))


async def closing(connection: Any) -> tuple[str, int | None]:
    """The code of the last frame, and that of the close."""
    last: dict[str, Any] = {}
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(30):
            while True:
                last = json.loads(await connection.recv())
    return last["code"], connection.close_code


async def test_an_older_version_is_refused_and_the_next_one_admitted(gateway: Gateway) -> None:
    old, new = (gateway.headers(claims={"ver": version}) for version in (0, 1))
    of_another = gateway.mint.headers()
    before = await code_of(gateway, old)
    gateway.mint.take_back("user", gateway.user, state="changed", version=1)

    async def refused() -> bool:
        return await code_of(gateway, old) == (401, "token_outdated")

    await eventually(refused)
    assert before == (200, None)
    assert await code_of(gateway, old, path="/v1/files") == (401, "token_outdated")
    assert await code_of(gateway, new) == await code_of(gateway, of_another) == (200, None)


async def test_a_session_that_was_ended_is_refused_and_another_of_the_same_user_is_not(gateway: Gateway) -> None:
    ended, other = uuid.uuid4(), uuid.uuid4()
    headers = gateway.headers(claims={"sid": str(ended)})
    assert await code_of(gateway, headers) == (200, None)
    gateway.mint.take_back("session", ended)

    async def refused() -> bool:
        return await code_of(gateway, headers) == (401, "session_ended")

    await eventually(refused)
    assert await code_of(gateway, gateway.headers(claims={"sid": str(other)})) == (200, None)


async def test_a_suspended_tenant_tells_nothing_to_who_only_has_a_link(gateway: Gateway, behind: Behind) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, headers={TENANT_HEADER: "1"})

    behind.answer = answer
    opened = await gateway.call("GET", "/v1/shared/token")
    assert opened.status == 200 and TENANT_HEADER not in opened.headers
    gateway.mint.take_back("tenant", 1, state="suspended")

    async def closed() -> bool:
        return await code_of(gateway, {}, path="/v1/shared/token") == (404, "link_closed")

    await eventually(closed)


async def test_who_signs_in_where_nobody_must_is_judged_all_the_same(gateway: Gateway) -> None:
    assert (await code_of(gateway, gateway.headers(), path="/v1/shared/token"))[0] == 200
    nonsense = {"Authorization": "Bearer nonsense"}
    assert await code_of(gateway, nonsense, path="/v1/shared/token") == (401, "invalid_token")
    gateway.mint.take_back("user", gateway.user, state="ended")

    async def refused() -> bool:
        return await code_of(gateway, gateway.headers(), path="/v1/shared/token") == (401, "session_ended")

    await eventually(refused)


async def test_a_suspended_tenant_reads_and_does_nothing_else_until_it_is_resumed(gateway: Gateway) -> None:
    headers, neighbours = gateway.headers(role="owner"), gateway.mint.headers(tenant_id=2)
    gateway.mint.take_back("tenant", 1, state="suspended")

    async def refused() -> bool:
        return await code_of(gateway, headers, "POST") == (403, "tenant_suspended")

    await eventually(refused)
    document = uuid.uuid4()
    for method, path in (("POST", "/v1/chat"), ("POST", "/v1/files"), ("DELETE", f"/v1/files/{document}")):
        assert await code_of(gateway, headers, method, path) == (403, "tenant_suspended")
    for path in ("/v1/chats", "/v1/files", "/v1/usage", "/v1/search?q=picnic"):
        assert (await code_of(gateway, headers, path=path))[0] == 200
    assert (await code_of(gateway, neighbours, "POST"))[0] == 200
    gateway.mint.take_back("tenant", 1, state="active")

    async def resumed() -> bool:
        return (await code_of(gateway, headers, "POST"))[0] == 200

    await eventually(resumed)


async def test_a_tenant_about_to_be_deleted_reads_and_nothing_else_until_it_is_gone(gateway: Gateway) -> None:
    owner, member = gateway.headers(role="owner"), gateway.headers(role="member")
    gateway.mint.take_back("tenant", 1, state="deleting")

    async def refused() -> bool:
        return await code_of(gateway, owner, "POST") == (403, "tenant_deleting")

    await eventually(refused)
    for path in ("/v1/chats", "/v1/files", "/v1/search?q=picnic"):
        assert (await code_of(gateway, member, path=path))[0] == 200
    for method, path in (("POST", "/v1/chat"), ("POST", "/v1/files"), ("PATCH", "/v1/tenant")):
        assert await code_of(gateway, owner, method, path) == (403, "tenant_deleting")
    assert await code_of(gateway, member, "POST", "/v1/tenant/restore") == (403, "not_allowed")
    gateway.mint.take_back("tenant", 1, state="deleted")

    async def gone() -> bool:
        return await code_of(gateway, owner) == (401, "session_ended")

    await eventually(gone)


async def answer_to_slow(
    gateway: Gateway, path: str, headers: dict[str, str], body: bytes, meanwhile: Callable[[], Awaitable[None]]
) -> bytes:
    """What a request is answered whose body ends after `meanwhile`, which begins when the gateway waits for it."""
    place = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    lines = [f"POST {path} HTTP/1.1", "Host: x", "Connection: close", "Expect: 100-continue"]
    lines += [f"{name}: {value}" for name, value in (headers | {"Content-Length": str(len(body))}).items()]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(30):
        assert b" 100 " in await reader.readuntil(b"\r\n\r\n")
        await meanwhile()
        writer.write(body)
        answer = await reader.read()
    writer.close()
    return answer


_FORM = (
    b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.pdf"\r\n'
    b"Content-Type: application/pdf\r\n\r\n" + PDF + b"\r\n--x--\r\n"
)


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/v1/chats", "application/json", b"{}"),
        ("/v1/chat", "application/json", b'{"message": "?"}'),
        ("/v1/files", "multipart/form-data; boundary=x", _FORM),
    ],
)
@pytest.mark.parametrize("what", ["session", "tenant"])
async def test_what_is_taken_back_while_the_body_comes_is_refused_at_its_end(
    gateway: Gateway, behind: Behind, path: str, kind: str, body: bytes, what: str
) -> None:
    session = uuid.uuid4()
    headers = gateway.headers(role="owner", claims={"sid": str(session)})
    wanted = (401, "session_ended") if what == "session" else (403, "tenant_suspended")

    async def take_back() -> None:
        if what == "session":
            gateway.mint.take_back("session", session)
        else:
            gateway.mint.take_back("tenant", 1, state="suspended")

        async def refused() -> bool:
            return await code_of(gateway, headers, "POST") == wanted

        await eventually(refused)
        behind.seen.clear()

    answer = await answer_to_slow(gateway, path, headers | {"Content-Type": kind}, body, take_back)

    assert (int(answer.split()[1]), wanted[1].encode() in answer) == (wanted[0], True)
    assert behind.seen == []
    assert (gateway.stored(), await gateway.fetchval("SELECT count(*) FROM knowledge.documents")) == ([], 0)
    if what == "tenant":  # a refusal, which the audit log tells of, and of each operation once
        await gateway.container.refusals.write()
        told = """SELECT array_agg(entry ->> 'object_id') FROM (
            SELECT convert_from(body, 'UTF8')::jsonb -> 'data' AS entry FROM knowledge.outbox
            WHERE type = 'audit.recorded.v1') AS entries WHERE entry ->> 'action' = 'access.deny'"""
        assert f"POST {path}" in await gateway.fetchval(told)


async def test_each_question_of_a_socket_is_judged_again(open_gateway: OpenGateway, chat: Chat) -> None:
    async with (
        open_gateway(revisions_patience="1500ms") as gateway,
        connect(gateway.ws_url, additional_headers=gateway.headers()) as connection,
    ):
        gateway.mint.is_silent = True

        async def refused() -> bool:
            await connection.send('{"message": "?"}')
            last: dict[str, Any] = {}
            async with asyncio.timeout(30):
                while last.get("type") not in ("end", "error"):
                    last = json.loads(await connection.recv())
            return last.get("code") == "upstream_unavailable"

        await eventually(refused)
        asked = len(chat.requests)
        assert await refused()
        assert len(chat.requests) == asked


async def test_open_sockets_end_also_in_the_midst_of_an_answer(gateway: Gateway, chat: Chat) -> None:
    assert Standing.POLL.total_seconds() < 1  # of the five that are promised
    chat.script = chat.until_stopped
    session = uuid.uuid4()
    cases = {
        ("token_outdated", 4401): ({}, ("user", gateway.user), {"state": "changed", "version": 1}),
        ("session_ended", 4401): ({"claims": {"sid": str(session), "ver": 1}}, ("session", session), {}),
        ("tenant_suspended", 4403): ({"claims": {"ver": 1}}, ("tenant", 1), {"state": "suspended"}),
    }
    for wanted, (of_token, subject, how) in cases.items():
        async with (
            connect(gateway.ws_url, additional_headers=gateway.mint.headers(tenant_id=2)) as of_another,
            connect(gateway.ws_url, additional_headers=gateway.headers(**of_token)) as connection,
        ):
            await connection.send('{"message": "?"}')
            assert json.loads(await connection.recv())["type"] == "start"
            gateway.mint.take_back(*subject, **how)
            assert await closing(connection) == wanted
            await of_another.ping()
    assert gateway.container.verifier.standing._followers == set()


async def test_an_event_stream_ends_with_the_reason(gateway: Gateway, chat: Chat) -> None:
    chat.script = chat.until_stopped
    session = uuid.uuid4()
    headers = gateway.headers(claims={"sid": str(session)})
    async with (
        asyncio.timeout(30),
        gateway.http.post("/v1/chat", json={"message": "?"}, headers=headers) as stream,
    ):
        first = await stream.content.readuntil(b"\n\n")
        gateway.mint.take_back("session", session)
        rest = await stream.content.read()

    assert b'"start"' in first
    assert rest.startswith(b"event: error\ndata: ")
    assert b'"code":"session_ended"' in rest


async def test_a_stream_that_was_taken_back_in_the_midst_of_an_event_is_cut(gateway: Gateway, chat: Chat) -> None:
    async def torn() -> Any:
        yield event("start", turn_id="x")[:-1]
        await chat.stopped.wait()

    chat.script = torn
    async with asyncio.timeout(30):
        with pytest.raises(Exception, match="payload"):
            async with gateway.http.post("/v1/chat", json={"message": "?"}, headers=gateway.headers()) as stream:
                await stream.content.readany()
                gateway.mint.take_back("user", gateway.user, state="changed", version=1)
                await stream.content.read()
    chat.stopped.set()


async def test_who_waits_for_an_answer_is_told_instead_of_answered(gateway: Gateway, behind: Behind) -> None:
    arrived, may_answer = asyncio.Event(), asyncio.Event()

    async def slowly(request: Any) -> Any:
        arrived.set()
        await may_answer.wait()
        raise AssertionError

    behind.answer = slowly
    asking = asyncio.create_task(code_of(gateway, gateway.headers(), "POST", "/v1/chat"))
    async with asyncio.timeout(30):
        await arrived.wait()
        gateway.mint.take_back("user", gateway.user, state="changed", version=1)
        assert await asking == (401, "token_outdated")


async def test_a_progress_stream_ends_with_the_reason(open_gateway: OpenGateway) -> None:
    async with open_gateway(progress_poll="50ms") as gateway, asyncio.timeout(30):
        document = await (await gateway.upload()).json()
        path = f"/v1/files/{document['id']}/events"
        async with gateway.http.get(path, headers=gateway.headers()) as events:
            await events.content.readuntil(b"\n\n")
            gateway.mint.take_back("user", gateway.user, state="changed", version=1)
            rest = await events.content.read()

    assert b'"code":"token_outdated"' in rest


async def test_a_silent_auth_is_believed_for_a_while_and_then_nobody_is_admitted(open_gateway: OpenGateway) -> None:
    async with open_gateway(revisions_patience="3s") as gateway:
        mint, ended = gateway.mint, uuid.uuid4()
        mint.take_back("session", ended)

        async def refused() -> bool:
            return await code_of(gateway, gateway.headers(claims={"sid": str(ended)})) == (401, "session_ended")

        await eventually(refused)
        mint.is_silent = True

        async def closed() -> bool:
            return await code_of(gateway, gateway.headers()) == (503, "upstream_unavailable")

        await eventually(closed)
        ready = await gateway.call("GET", "/readyz")
        public = await gateway.call("GET", "/")
        mint.is_silent = False

        async def admitted() -> bool:
            return await code_of(gateway, gateway.headers()) == (200, None)

        await eventually(admitted)
    assert (ready.status, public.status) == (503, 200)
    assert "failing" in (await ready.json())["checks"]["auth"]


class Auth:
    """Tells what a test wants."""

    def __init__(self) -> None:
        self.pages: list[list[Revision]] = []
        self.asked: list[str | None] = []
        self.now = 1000.0
        self.standing = Standing(self.tell, Standing.RELOAD / 60, elapsed=lambda: self.now)

    async def tell(self, after: str | None) -> RevisionPage:
        self.asked.append(after)
        if not self.pages:
            raise UpstreamUnavailable
        return RevisionPage(items=self.pages.pop(0), after=str(len(self.asked)))


def revision(kind: Any, subject: object, state: Any, version: int = 0) -> Revision:
    return Revision(tenant_id=1, kind=kind, subject=str(subject), state=state, version=version)


async def test_what_is_known_is_asked_for_by_its_place_and_wholly_after_a_long_silence_and_each_hour() -> None:
    auth = Auth()
    session, user = uuid.uuid4(), uuid.uuid4()
    who = Identity(Caller(TenantId(1), "user", user, role="member", session_id=session), "one", "", None, 0, "token")
    ended = revision("session", session, "ended")
    with pytest.raises(UpstreamUnavailable):
        auth.standing.require_heard()
    auth.pages = [[ended], [], [revision("user", user, "changed", 2)], [], []]
    await auth.standing.follow()
    assert isinstance(auth.standing.refusal(who), SessionEnded)
    await auth.standing.follow()
    auth.now += 61  # longer than its patience
    with pytest.raises(UpstreamUnavailable):
        auth.standing.require_heard()
    await auth.standing.follow()
    assert isinstance(auth.standing.refusal(who), TokenOutdated)
    await auth.standing.follow()
    for _ in range(62):
        auth.now += 59
        auth.pages.append([])
        await auth.standing.follow()
    assert auth.standing.refusal(who) is None
    assert (auth.asked[:4], auth.asked[4:].count(None)) == ([None, "1", None, "3"], 1)


async def test_what_was_taken_back_before_it_is_followed_ends_it_at_once() -> None:
    auth, session, loop = Auth(), uuid.uuid4(), asyncio.get_running_loop()
    caller = Caller(TenantId(1), "user", uuid.uuid4(), role="member", session_id=session)
    identity = Identity(caller, "one", "", None, loop.time(), "token")
    auth.pages = [[revision("session", session, "ended")]]
    with auth.standing.following(identity, "POST") as ended:
        assert not ended.done()
    await auth.standing.follow()
    with auth.standing.following(identity, "POST") as ended:
        assert isinstance(ended.result(), SessionEnded)


async def test_while_auth_is_silent_what_it_said_stays_in_force() -> None:
    auth = Auth()
    auth.pages = [[revision("tenant", 1, "suspended")]]
    caller = Caller(TenantId(1), "user", uuid.uuid4(), role="owner")
    await auth.standing.follow()
    for wait in (59, 3600):  # less than its patience, and so long that all would be asked for again
        auth.now += wait
        with pytest.raises(UpstreamUnavailable):
            await auth.standing.follow()
        assert isinstance(auth.standing.suspension(caller, "POST"), TenantSuspended)
        assert auth.standing.suspension(caller, "GET") is None
        if wait == 59:
            auth.standing.require_heard()


async def test_all_pages_of_what_auth_says_are_one_answer_with_the_first_ones_place() -> None:
    ended = [revision("session", uuid.uuid4(), "ended").model_dump() for _ in range(3)]
    pages = [
        {"items": ended[:2], "after": "7:7:", "next": "1:session:x"},
        {"items": ended[2:], "after": "9:9:", "next": None},
    ]
    client = AsyncMock(request_json=AsyncMock(side_effect=pages))
    page = await AuthRevisions(client, "secret").list_after(None)
    asked = [call.args[1] for call in client.request_json.call_args_list]
    assert ([one.model_dump() for one in page.items], page.after) == (ended, "7:7:")
    assert asked == [f"{REVISIONS}?limit={PAGE}", f"{REVISIONS}?limit={PAGE}&page=1%3Asession%3Ax"]
