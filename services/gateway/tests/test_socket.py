"""The chat socket, with a scripted chat service behind."""

from __future__ import annotations

import asyncio
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr
from services.gateway.tests.conftest import Gateway, OpenGateway
from services.gateway.tests.fakes import TURN, Behind, Chat, event
from starlette.websockets import WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from docuchat_common.http.caller import Caller
from docuchat_common.http.claims import Identity
from docuchat_common.http.identity import TokenExpired
from docuchat_common.ids import TenantId
from docuchat_gateway.edge.session import ChatSession
from docuchat_gateway.settings import Settings
from docuchat_testkit.eventually import eventually


@pytest.fixture
def chat(behind: Behind) -> Chat:
    return Chat(behind)


def dial(gateway: Gateway, **options: Any) -> connect:
    options.setdefault("additional_headers", gateway.headers())
    return connect(gateway.ws_url + options.pop("query", ""), **options)


async def receive(connection: ClientConnection, *until: str) -> list[dict[str, Any]]:
    frames = []
    async with asyncio.timeout(30):
        while True:
            frames.append(json.loads(await connection.recv()))
            if frames[-1]["type"] in (until or ("end", "error")):
                return frames


async def closing(connection: ClientConnection) -> tuple[dict[str, Any], int | None]:
    """The last frame and the code with which the server closes."""
    last: dict[str, Any] = {}
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(30):
            while True:
                last = json.loads(await connection.recv())
    return last, connection.close_code


async def test_a_message_is_answered_with_the_frames_of_chat(gateway: Gateway, chat: Chat) -> None:
    async with dial(gateway) as connection:
        asked = {"message": "سؤال من چیست؟", "session_id": 123, "document_ids": [TURN]}
        await connection.send(json.dumps(asked))
        frames = await receive(connection)
        await connection.send(json.dumps({"message": "again"}))
        again = await receive(connection)

    assert [frame["type"] for frame in frames] == ["start", "sources", "delta", "delta", "end"]
    assert frames[2] == {"type": "delta", "seq": 1, "token": "سلام"}
    assert frames[3]["token"] == " data: {x}\n\n"
    assert len(again) == 5
    body = {"message": "سؤال من چیست؟", "session_id": 123, "document_ids": [TURN], "stream": True}
    assert chat.requests[0] == ("POST", "/v1/chat", body)


async def test_of_many_unknown_fields_a_few_go_on_to_chat(gateway: Gateway, chat: Chat) -> None:
    surplus = {f"k{place}": place for place in range(10_000)}
    async with dial(gateway) as connection:
        await connection.send(json.dumps({**surplus, "message": "?", "documents": [TURN]}))
        await receive(connection)
        await connection.send(json.dumps({**surplus, "stop": TURN}))
        refused = (await receive(connection))[0]

    body = chat.requests[0][2]
    assert (body["message"], body["documents"], body["stream"]) == ("?", [TURN], True)
    assert [name for name in body if name.startswith("k")] == [f"k{place}" for place in range(20)]
    assert refused["field"] == "k0"


async def test_the_token_may_come_in_three_ways(gateway: Gateway, chat: Chat) -> None:
    token = gateway.mint.token()
    ways: list[dict[str, Any]] = [
        {"additional_headers": {"Authorization": f"Bearer {token}"}},
        {"additional_headers": {}, "subprotocols": ["docuchat", token]},
        {"additional_headers": {}, "query": f"?token={token}"},
        {"additional_headers": {"X-Tenant-ID": "1"}, "query": f"?token={token}"},
    ]
    for way in ways:
        async with dial(gateway, **way) as connection:
            await connection.send('{"message": "x"}')
            assert (await receive(connection))[-1]["type"] == "end"
            assert connection.subprotocol == ("docuchat" if "subprotocols" in way else None)


async def test_without_a_right_token_the_socket_says_why_and_closes(gateway: Gateway) -> None:
    mint = gateway.mint
    cases = {
        ("unauthenticated", 4401): {},
        ("invalid_token", 4401): {"Authorization": "Bearer nonsense"},
        ("token_expired", 4401): mint.headers(lifetime_seconds=-5),
        ("tenant_mismatch", 4403): mint.headers(tenant_id=1) | {"X-Tenant-ID": "2"},
    }
    for (code, close_code), headers in cases.items():
        async with dial(gateway, additional_headers=headers) as connection:
            frame, closed_with = await closing(connection)
            assert (frame["type"], frame["code"], closed_with) == ("error", code, close_code)


async def test_a_socket_ends_with_its_token(gateway: Gateway) -> None:
    async with dial(gateway, additional_headers=gateway.mint.headers(lifetime_seconds=2)) as connection:
        frame, closed_with = await closing(connection)
        assert (frame["code"], closed_with) == ("token_expired", 4401)


async def test_pages_of_other_sites_are_kept_out(open_gateway: OpenGateway) -> None:
    async with open_gateway(environment="production", frontend_origin="https://app.example") as gateway:
        async with dial(gateway, origin="https://app.example"):
            pass
        for origin in ("https://evil.example", "http://localhost:3000", "null", "http://["):
            with pytest.raises(InvalidStatus) as refusal:
                async with dial(gateway, origin=origin):
                    pass
            assert refusal.value.response.status_code == 403
            assert b"origin_refused" in refusal.value.response.body


async def test_a_wrong_frame_is_answered_and_the_socket_stays(gateway: Gateway, chat: Chat) -> None:
    wrong: list[Any] = [
        "no json",
        "[]",
        "{}",
        '{"message": 5}',
        '{"resume": "x"}',
        json.dumps({"resume": TURN, "after": -1}),
        '{"stop": "../../internal"}',
        '{"stop": ' + "[" * 1000 + "]" * 1000 + "}",
        '{"message": "x", "session_id": ' + "[" * 400 + "]" * 400 + "}",
        b"binary",
    ]
    async with dial(gateway) as connection:
        for frame in wrong:
            await connection.send(frame)
            assert (await receive(connection))[-1]["code"] == "invalid_frame"
        await connection.send(json.dumps({"message": "x" * 300_000}))
        assert (await receive(connection))[-1]["code"] == "message_too_large"
        assert chat.requests == []
        await connection.send('{"message": "x"}')
        assert (await receive(connection))[-1]["type"] == "end"


async def test_a_running_turn_can_be_stopped_but_no_second_begun(gateway: Gateway, chat: Chat) -> None:
    chat.script = chat.until_stopped
    async with dial(gateway) as connection:
        await connection.send('{"message": "long"}')
        await receive(connection, "start")
        await connection.send('{"message": "second"}')
        assert (await receive(connection))[-1]["code"] == "busy"
        chat.script = chat.short
        await connection.send(json.dumps({"resume": TURN, "after": 7}))
        assert (await receive(connection))[-1]["type"] == "end"
        await connection.send(json.dumps({"stop": TURN}))
        assert (await receive(connection))[-1]["finish_reason"] == "stopped"

    assert [request[:2] for request in chat.requests] == [
        ("POST", "/v1/chat"),
        ("GET", f"/v1/turns/{TURN}/events?after=7"),
        ("POST", f"/v1/turns/{TURN}/stop"),
    ]


async def test_a_problem_of_chat_is_an_error_frame(gateway: Gateway, chat: Chat) -> None:
    chat.problem = {"status": 429, "code": "quota_exceeded", "detail": "Used up.", "resets_at": "2026-12-01T00:00:00Z"}
    async with dial(gateway) as connection:
        for _ in range(2):
            await connection.send('{"message": "x"}')
            (frame,) = await receive(connection)
            assert frame == {
                "type": "error",
                "code": "quota_exceeded",
                "message": "Used up.",
                "retry_after": 7,
                "resets_at": "2026-12-01T00:00:00Z",
            }


async def test_a_question_without_words_is_chats_to_refuse_as_over_http(gateway: Gateway, chat: Chat) -> None:
    chat.problem = {"status": 422, "code": "message_empty", "detail": "The message is empty; ask something."}
    async with dial(gateway) as connection:
        await connection.send('{"message": " "}')
        assert (await receive(connection))[-1]["code"] == "message_empty"


async def test_an_answer_that_breaks_off_is_told(gateway: Gateway, chat: Chat) -> None:
    async def cut() -> AsyncIterator[bytes]:
        yield event("start", turn_id=TURN) + event("delta", seq=1, token="a")

    chat.script = cut
    async with dial(gateway) as connection:
        await connection.send('{"message": "x"}')
        frames = await receive(connection)
    assert frames[-1]["code"] == "upstream_unavailable"
    assert frames[-1]["turn_id"] == TURN


async def test_chat_being_down_is_an_error_frame(open_gateway: OpenGateway) -> None:
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        url = f"http://127.0.0.1:{reserved.getsockname()[1]}"
    async with open_gateway(chat_url=url) as gateway, dial(gateway) as connection:
        await connection.send('{"message": "x"}')
        (frame,) = await receive(connection)
        assert (frame["code"], frame["retry_after"]) == ("upstream_unavailable", 2)


async def test_messages_are_counted_by_the_rate_limit(open_gateway: OpenGateway, chat: Chat) -> None:
    async with open_gateway(rate_limit_per_minute=2) as gateway, dial(gateway) as connection:
        last = []
        for _ in range(3):
            await connection.send('{"message": "x"}')
            last.append((await receive(connection))[-1])
        assert [frame["type"] for frame in last] == ["end", "end", "error"]
        assert last[-1]["code"] == "rate_limited"
        assert last[-1]["retry_after"] >= 1


async def test_an_idle_socket_is_closed(open_gateway: OpenGateway) -> None:
    async with open_gateway(socket_idle=0.2) as gateway, dial(gateway) as connection:
        assert (await closing(connection))[1] == 4408


async def test_a_client_that_leaves_ends_its_stream(gateway: Gateway, chat: Chat, behind: Behind) -> None:
    chat.script = chat.until_stopped
    async with dial(gateway) as connection:
        await connection.send('{"message": "x"}')
        await receive(connection, "start")
    transport = behind.seen[-1].transport
    await eventually(lambda: transport is None or transport.is_closing())


async def test_a_client_that_does_not_read_is_dropped_and_holds_little(open_gateway: OpenGateway, chat: Chat) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        yield event("start", turn_id=TURN)
        while True:
            frame = event("delta", seq=1, token="x" * 10_000)
            yield frame
            sent += len(frame)

    chat.script = endless
    async with open_gateway(socket_send=0.5) as gateway:
        connection = await dial(gateway, max_queue=1).__aenter__()
        await connection.send('{"message": "x"}')
        await receive(connection, "start")
        connection.transport.pause_reading()

        await eventually(lambda: REGISTRY.get_sample_value("docuchat_sockets") == 0)
        stopped_at = sent
        await eventually(lambda: connection.transport is not None)
        connection.transport.abort()
        assert stopped_at < 20_000_000  # what the kernel's buffers and ours hold; the stream has no end


async def test_the_id_of_a_message_stands_in_every_frame_that_it_causes(gateway: Gateway, chat: Chat) -> None:
    async with dial(gateway) as connection:
        await connection.send(json.dumps({"message": "x", "id": "a"}))
        asked = await receive(connection)
        await connection.send(json.dumps({"resume": TURN, "after": 0, "id": "c"}))
        resumed = await receive(connection)
        await connection.send(json.dumps({"message": 5, "id": "b"}))
        (wrong,) = await receive(connection)

    assert {frame["id"] for frame in asked} == {"a"}
    assert [frame["type"] for frame in asked] == ["start", "sources", "delta", "delta", "end"]
    assert {frame["id"] for frame in resumed} == {"c"}
    assert (wrong["code"], wrong["id"]) == ("invalid_frame", "b")
    assert "id" not in chat.requests[0][2]


async def test_a_frame_with_an_unknown_field_is_refused_by_name_and_chat_sees_all_of_a_question(
    gateway: Gateway, chat: Chat
) -> None:
    async with dial(gateway) as connection:
        await connection.send(json.dumps({"stop": TURN, "aftr": 1}))
        (refused,) = await receive(connection)
        await connection.send(json.dumps({"message": "x", "documents": ["y"], "stream": False}))
        await receive(connection)

    assert refused["code"] == "invalid_frame"
    assert "aftr" in refused["message"]
    assert chat.requests[0][2] == {"message": "x", "documents": ["y"], "stream": True}


async def test_a_user_and_an_address_have_so_many_sockets(open_gateway: OpenGateway) -> None:
    async with open_gateway(max_sockets_per_user=2, max_sockets_per_address=4) as gateway:
        async with dial(gateway), dial(gateway):
            async with dial(gateway) as third:
                frame, closed_with = await closing(third)
                assert (frame["code"], closed_with) == ("too_many_sockets", 1013)
            others = gateway.mint.headers(), gateway.mint.headers()
            async with dial(gateway, additional_headers=others[0]), dial(gateway, additional_headers=others[1]):
                with pytest.raises(InvalidStatus) as refusal:
                    async with dial(gateway, additional_headers=gateway.mint.headers()):
                        pass
                assert refusal.value.response.status_code == 429
                assert refusal.value.response.headers["Retry-After"] == "5"

        async def opens() -> None:
            async with dial(gateway) as connection:
                await connection.send('{"message": "x"}')
                assert (await receive(connection))[-1]["code"] != "too_many_sockets"

        await eventually(opens)


@pytest.mark.parametrize("error", [WebSocketDisconnect(1006), OSError(), RuntimeError("closed")])
async def test_a_send_that_fails_ends_the_session_and_nothing_is_raised(error: Exception) -> None:
    async def receive_message() -> dict[str, Any]:
        return {"type": "websocket.receive", "text": "no json"}

    async def send(message: dict[str, Any]) -> None:
        raise error

    settings = Settings.model_construct(internal_token=SecretStr("inside"))
    scope = {"app": SimpleNamespace(state=SimpleNamespace(container=SimpleNamespace(settings=settings)))}
    caller = Caller(TenantId(1), "user", uuid.uuid4(), role="member")
    session = ChatSession(scope, receive_message, send)  # type: ignore[arg-type]  # as ASGI has it
    async with asyncio.timeout(30):
        ended = asyncio.get_running_loop().create_future()
        await session.run(Identity(caller, "one", "", None, time.time() + 60, "token"), ended)
        await session.refuse(error=TokenExpired())


async def test_a_stop_is_free_once_and_only_of_a_turn_that_the_socket_follows(
    open_gateway: OpenGateway, chat: Chat
) -> None:
    chat.script = chat.until_stopped
    async with open_gateway(rate_limit_per_minute=1) as gateway, dial(gateway) as connection:
        await connection.send(json.dumps({"message": "?"}))
        await receive(connection, "start")
        await connection.send(json.dumps({"stop": str(uuid.uuid4())}))
        refused = await receive(connection, "error")
        await connection.send(json.dumps({"stop": TURN}))
        ended = await receive(connection, "end")

    assert refused[-1]["code"] == "rate_limited"
    assert ended[-1]["finish_reason"] == "stopped"
