"""Streamed answers: both channels, drops, refusals, ends of tokens."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.websockets import WebSocket

from docuchat_client import (
    AsyncDocuChat,
    ConnectionFailed,
    DocuChat,
    Forbidden,
    MemoryCredentials,
    QuotaExceeded,
    RateLimited,
    ServiceUnavailable,
    Unauthenticated,
    UnexpectedAnswer,
)
from docuchat_client.answers import AnswerStream, websocket_address
from docuchat_client.models import Delta, End, Sources, Start

from .conftest import (
    CHAT,
    TURN,
    WORDS,
    Service,
    end_frame,
    frames,
    hangs_up,
    problem,
    sends,
    sse,
    start_frame,
    token,
    without_id,
)

TEXT = "".join(WORDS)
RESUME = f"/v1/turns/{TURN}/events"


async def read(stream: AnswerStream) -> list[str]:
    async with stream:
        return [word async for word in stream.text()]


def event_stream(items: list[dict[str, Any]]) -> Response:
    return Response(sse(items), media_type="text/event-stream")


async def test_streams_events_in_order_over_a_websocket(service: Service, client: AsyncDocuChat) -> None:
    service.sockets.append(sends([{"type": "later_invention"}, *frames()]))

    async with client.stream("How long?", session_id=7, document_ids=[CHAT]) as answer:
        kinds = [type(event) async for event in answer]

    assert kinds == [Start, Sources, *[Delta] * len(WORDS), End]
    assert without_id(service.heard) == [{"message": "How long?", "session_id": 7, "documents": [CHAT]}]
    assert answer.answer == TEXT and str(answer.chat_id) == CHAT
    assert answer.citations[0].quote == "lasts two years" and answer.citations[0].page == 3
    assert answer.usage is not None and answer.usage.total_tokens == 47


@pytest.mark.parametrize("cut", range(1, len(WORDS) + 2))
async def test_a_dropped_websocket_goes_on_without_gap_or_repeat(
    service: Service, client: AsyncDocuChat, cut: int
) -> None:
    service.sockets += [sends(frames()[: cut + 1], drop=True), sends(frames(after=max(0, cut - 2)))]

    words = await read(stream := client.stream("How long?"))

    assert words == WORDS and stream.resumptions == 1
    assert without_id(service.heard)[1] == {"resume": TURN, "after": cut - 1}


async def test_goes_on_as_long_as_there_is_progress(service: Service, client: AsyncDocuChat) -> None:
    for seen in range(len(WORDS)):
        service.sockets.append(sends(frames(after=seen)[:3], drop=True))
    service.sockets.append(sends(frames(after=len(WORDS))))

    assert await read(client.stream("How long?")) == WORDS
    assert [heard.get("after") for heard in service.heard] == [None, *range(1, len(WORDS) + 1)]


async def test_a_gap_is_asked_for_again(service: Service, client: AsyncDocuChat) -> None:
    with_gap = [start_frame(), *frames()[2:4], *frames()[5:]]
    service.sockets += [sends(with_gap), sends(frames(after=2))]

    assert await read(client.stream("How long?")) == WORDS


async def test_a_question_that_may_have_been_taken_is_not_asked_twice(service: Service, client: AsyncDocuChat) -> None:
    service.sockets.append(sends([], drop=True))

    with pytest.raises(ConnectionFailed, match="lost"):
        await read(client.stream("How long?"))

    assert len(service.heard) == 1


async def test_a_busy_door_is_knocked_at_again(service: Service, client: AsyncDocuChat) -> None:
    service.handshakes.append(problem(503, "upstream_unavailable", "Away.", {"Retry-After": "0"}))
    service.sockets.append(sends(frames()))

    assert await read(client.stream("How long?")) == WORDS


async def test_an_expired_token_is_renewed_at_the_door_and_in_mid_answer(
    service: Service, client: AsyncDocuChat
) -> None:
    service.good_tokens.clear()
    service.refreshes["r1"] = (token("second"), "r2")
    service.sockets.append(sends(frames()))
    assert await read(client.stream("How long?")) == WORDS

    async def expire(socket: WebSocket, _: Any) -> None:
        for frame in frames()[:4]:
            await socket.send_json(frame)
        service.good_tokens.clear()
        service.refreshes["r2"] = (token("third"), "r3")
        await socket.close(1008, "The access token has expired.")

    service.sockets += [expire, sends(frames(after=2))]
    assert await read(client.stream("How long?")) == WORDS


async def test_an_error_frame_is_raised_as_its_error(service: Service, client: AsyncDocuChat) -> None:
    refusal = {
        "type": "error",
        "code": "quota_exceeded",
        "message": "Used up.",
        "retry_after": 60,
        "resets_at": "later",
    }
    failure = {"type": "error", "code": "provider_interrupted", "message": "The model was cut off.", "seq": 3}
    service.sockets += [sends([refusal]), sends([*frames()[:4], failure])]

    with pytest.raises(QuotaExceeded) as refused:
        await read(client.stream("How long?"))
    with pytest.raises(ServiceUnavailable) as failed:
        await read(client.stream("How long?"))

    assert (refused.value.retry_after, refused.value.resets_at) == (60, "later")
    assert failed.value.code == "provider_interrupted" and len(service.heard) == 2


@pytest.mark.parametrize("code", ["not_allowed", "tenant_suspended", "tenant_deleting", "address_not_allowed"])
@pytest.mark.parametrize("is_said", [True, False])
async def test_a_refusal_at_the_door_is_told_though_the_service_has_hung_up(
    service: Service, client: AsyncDocuChat, code: str, is_said: bool
) -> None:
    frame = {"type": "error", "code": code, "message": "Ask an admin."}
    service.doors.append(hangs_up([frame] if is_said else [], 4403, code))

    with pytest.raises(Forbidden, match="Ask an admin" if is_said else "not allowed") as refused:
        await read(client.stream("How long?"))

    assert refused.value.code == code and service.heard == []


@pytest.mark.parametrize("code", ["token_outdated", "session_ended", "second_factor_required"])
async def test_what_another_token_may_open_is_asked_for_once_more(
    service: Service, client: AsyncDocuChat, code: str
) -> None:
    close = 4403 if code == "second_factor_required" else 4401
    refuse = hangs_up([{"type": "error", "code": code, "message": "Not with this token."}], close, code)
    service.refreshes["r1"] = (token("second"), "r2")
    service.doors.append(refuse)
    service.sockets.append(sends(frames()))
    assert await read(client.stream("How long?")) == WORDS

    service.doors.append(refuse)
    with pytest.raises((Unauthenticated, Forbidden), match="Not with this token"):
        await read(client.stream("How long?"))


async def test_what_is_no_frame_is_refused(service: Service, client: AsyncDocuChat) -> None:
    async def babble(socket: WebSocket, _: Any) -> None:
        await socket.send_text("hello")

    service.sockets.append(babble)

    with pytest.raises(UnexpectedAnswer, match="not JSON"):
        await read(client.stream("How long?"))


async def test_gives_up_when_the_way_stays_closed(store: MemoryCredentials) -> None:
    async with AsyncDocuChat("http://127.0.0.1:1", credentials=store) as client:
        stream = AnswerStream(client._transport, {"message": "?"}, channel="websocket", attempts=1)
        with pytest.raises(ConnectionFailed, match="cannot be reached"):
            await read(stream)


async def test_streams_and_resumes_by_server_sent_events(service: Service, client: AsyncDocuChat) -> None:
    service.on("POST", "/v1/chat", event_stream(frames()[:5]))
    service.on("GET", RESUME, event_stream(frames(after=3)[2:6]), event_stream(frames(after=len(WORDS))))

    words = await read(client.stream("How long?", channel="sse"))

    assert words == WORDS
    assert service.count("POST", "/v1/chat") == 1
    assert [h["last-event-id"] for h in service.headers if "last-event-id" in h] == ["3", str(len(WORDS))]


async def test_server_sent_events_repeat_the_question_under_one_key(service: Service, client: AsyncDocuChat) -> None:
    async def cut(_: Request) -> Response:
        async def nothing() -> Any:
            yield b": hello\n\n"

        return StreamingResponse(nothing(), media_type="text/event-stream")

    service.on("POST", "/v1/chat", cut, event_stream(frames()))

    assert await read(client.stream("How long?", channel="sse")) == WORDS
    assert len({headers["idempotency-key"] for headers in service.headers}) == 1


async def test_an_expired_token_is_renewed_for_server_sent_events(service: Service, client: AsyncDocuChat) -> None:
    service.good_tokens.clear()
    service.refreshes["r1"] = (token("second"), "r2")
    service.on("POST", "/v1/chat", event_stream(frames()))

    assert await read(client.stream("How long?", channel="sse")) == WORDS


async def test_refused_for_good_when_it_cannot_be_renewed(service: Service, client: AsyncDocuChat) -> None:
    service.good_tokens.clear()

    for channel in ("websocket", "sse"):
        with pytest.raises(Unauthenticated):
            await read(client.stream("How long?", channel=channel))


async def test_silence_is_a_lost_connection(service: Service, client: AsyncDocuChat) -> None:
    async def silent(socket: WebSocket, _: Any) -> None:
        for frame in frames()[:3]:
            await socket.send_json(frame)
        await asyncio.wait_for(socket.receive(), 30)

    service.sockets += [silent, sends(frames(after=1))]
    stream = AnswerStream(client._transport, {"message": "?"}, channel="websocket", silence=0.2)

    assert await read(stream) == WORDS and stream.resumptions == 1


async def test_stops_and_resumes_elsewhere(service: Service, client: AsyncDocuChat) -> None:
    service.on("POST", f"/v1/turns/{TURN}/stop", JSONResponse({}, 202))
    service.sockets.append(sends([start_frame(), {**end_frame(), "finish_reason": "stopped"}]))

    async with client.resume(TURN, after=2) as answer:
        await answer.stop()
        assert [word async for word in answer.text()] == []

    assert answer.finish_reason == "stopped" and without_id(service.heard) == [{"resume": TURN, "after": 2}]


async def test_the_synchronous_stream_does_the_same(service: Service, store: MemoryCredentials) -> None:
    service.sockets += [sends(frames()[:4], drop=True), sends(frames(after=2))]

    def use() -> tuple[list[str], int]:
        with DocuChat(service.url, credentials=store) as client, client.stream("How long?") as answer:
            return list(answer.text()), len(answer.citations)

    assert await asyncio.to_thread(use) == (WORDS, 1)


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("http://localhost:8000", "ws://localhost:8000/ws/chat"),
        ("https://example.com/docs/", "wss://example.com/docs/ws/chat"),
    ],
)
def test_address_of_the_websocket(base: str, address: str) -> None:
    assert websocket_address(base) == address


async def test_frames_of_other_turns_and_messages_are_not_taken(service: Service, client: AsyncDocuChat) -> None:
    async def mixed(socket: WebSocket, asked: Any) -> None:
        for frame in frames():
            stranger = {**frame, "turn_id": CHAT, "seq": 1, "token": "not mine"}
            if frame["type"] != "start":
                await socket.send_json(stranger)
            await socket.send_json({**frame, "id": "somebody's", "token": "not mine"})
            await socket.send_json({**frame, "turn_id": TURN, "id": asked["id"]})
        await socket.close(1000)

    service.sockets.append(mixed)

    assert await read(client.stream("How long?")) == WORDS


async def test_a_busy_quota_is_a_limit_that_passes_and_a_used_up_one_is_not(
    service: Service, client: AsyncDocuChat
) -> None:
    busy = {"type": "error", "code": "quota_busy", "message": "Others hold what is left.", "retry_after": 2}
    service.sockets += [sends([busy]), sends([{**busy, "code": "quota_exceeded"}])]
    with pytest.raises(RateLimited) as refused:
        await read(client.stream("How long?"))
    assert refused.value.retry_after == 2
    with pytest.raises(QuotaExceeded):
        await read(client.stream("How long?"))
