"""Tokens, errors, repeats, uploads and documents."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from docuchat_client import (
    AsyncDocuChat,
    ConnectionFailed,
    Credentials,
    DocuChat,
    FileCredentials,
    InvalidInput,
    MemoryCredentials,
    NotFound,
    PayloadTooLarge,
    QuotaExceeded,
    RateLimited,
    ServerError,
    Unauthenticated,
    UnexpectedAnswer,
)

from .conftest import CHAT, DOCUMENT, NOW, Service, document, problem, sse, token

USER = {
    "id": CHAT,
    "email": "a@example.com",
    "role": "member",
    "tenant": {"id": 1, "slug": "demo", "name": "Demo"},
    "created_at": NOW,
}
EVENTS = f"/v1/files/{DOCUMENT}/events"


def events(*items: dict[str, Any], end: bytes = b"") -> Response:
    body = sse([{"type": "progress", **item} for item in items]) + end
    return Response(body, media_type="text/event-stream")


async def test_signs_in_by_code_and_keeps_the_tokens(service: Service, tmp_path: Path) -> None:
    service.on("POST", "/v1/auth/request-code", JSONResponse({"status": "sent", "expires_in": 600}, 202))
    tokens = {"access_token": token("good"), "refresh_token": "r", "token_type": "bearer", "expires_in": 900}
    service.good_tokens.add(tokens["access_token"])
    service.on("POST", "/v1/auth/verify-code", JSONResponse(tokens))
    service.on("GET", "/v1/users/me", JSONResponse(USER))
    store = FileCredentials(tmp_path / "deep" / "credentials.json")

    async with AsyncDocuChat(service.url, tenant="demo", credentials=store) as client:
        await client.login("a@example.com", lambda sent: " 123456 \n" if sent.expires_in == 600 else "")
        assert (await client.me()).tenant.slug == "demo"

    kept = FileCredentials(store.path).load()
    assert kept is not None and (kept.email, kept.tenant, kept.refresh_token) == ("a@example.com", "demo", "r")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert service.headers[0]["x-tenant-id"] == "demo" and "authorization" not in service.headers[0]


async def test_an_api_key_is_sent_as_it_is_and_never_renewed(service: Service) -> None:
    key = f"dck_{'0' * 32}_{'1' * 64}"
    service.good_tokens.add(key)
    service.on("GET", "/v1/users/me", JSONResponse(USER))
    async with AsyncDocuChat(service.url, api_key=key, refresh_token="r1") as client:
        await client.me()
        assert service.headers[-1]["authorization"] == f"Bearer {key}"
        service.good_tokens.clear()
        with pytest.raises(Unauthenticated):
            await client.me()
    assert service.count("POST", "/v1/auth/refresh") == 0


async def test_a_refused_token_is_renewed_once_for_all_who_wait(
    service: Service, store: MemoryCredentials, client: AsyncDocuChat
) -> None:
    service.good_tokens.clear()
    service.refreshes["r1"] = (token("second"), "r2")
    service.on("GET", "/v1/users/me", JSONResponse(USER))

    await asyncio.gather(*(client.me() for _ in range(10)))

    assert service.count("POST", "/v1/auth/refresh") == 1
    kept = store.load()
    assert kept is not None and kept.refresh_token == "r2"


async def test_a_token_that_is_about_to_expire_is_renewed_before_it_is_used(
    service: Service, store: MemoryCredentials, client: AsyncDocuChat
) -> None:
    store.save(Credentials(server=service.url, access_token=token("old", seconds=5), refresh_token="r1"))
    service.refreshes["r1"] = (token("second"), "r2")
    service.on("GET", "/v1/users/me", JSONResponse(USER))

    await client.me()

    assert [path for _, path in service.requests] == ["/v1/auth/refresh", "/v1/users/me"]


async def test_two_processes_share_one_renewal(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    service.good_tokens.clear()
    service.refreshes["r1"] = (token("second"), "r2")
    service.on("GET", "/v1/users/me", JSONResponse(USER))
    FileCredentials(path).save(Credentials(server=service.url, access_token=token("old"), refresh_token="r1"))
    clients = [AsyncDocuChat(service.url, credentials=FileCredentials(path)) for _ in range(4)]

    await asyncio.gather(*(client.me() for client in clients))

    assert service.count("POST", "/v1/auth/refresh") == 1
    for client in clients:
        await client.aclose()


async def test_says_so_when_signing_in_again_is_the_only_way(service: Service, client: AsyncDocuChat) -> None:
    service.good_tokens.clear()

    with pytest.raises(Unauthenticated) as refused:
        await client.me()

    assert refused.value.code == "token_expired" and service.count("GET", "/v1/users/me") == 1
    async with AsyncDocuChat(service.url) as nobody:
        with pytest.raises(Unauthenticated, match="not signed in"):
            await nobody.me()


async def test_logout_forgets_even_when_the_service_is_away(store: MemoryCredentials) -> None:
    async with AsyncDocuChat("http://127.0.0.1:1", credentials=store, retries=0) as client:
        with pytest.raises(ConnectionFailed, match="cannot be reached"):
            await client.logout()
    assert store.load() is None


@pytest.mark.parametrize(
    ("answer", "kind", "line"),
    [
        (problem(404, "not_found", "There is\nno such object."), NotFound, "There is no such object."),
        (problem(413, "file_too_large", "At most 25 MB."), PayloadTooLarge, "At most 25 MB."),
        (
            problem(422, "invalid_input", "The request is not valid.", errors=[{"field": "q", "problem": "is empty"}]),
            InvalidInput,
            "The request is not valid. (q: is empty)",
        ),
        (
            problem(422, "invalid_input", "Not valid: q: is empty", errors=[{"field": "q", "problem": "is empty"}]),
            InvalidInput,
            "Not valid: q: is empty",
        ),
        (
            problem(422, "invalid_input", "q is empty", errors=[{"field": "query.q", "problem": "is empty"}]),
            InvalidInput,
            "q is empty",
        ),
        (problem(500, "internal_error", "Something failed."), ServerError, "Something failed."),
        (PlainTextResponse("<html>", 502), Exception, "The service, or a part that it needs"),
        (PlainTextResponse("<html>", 200), UnexpectedAnswer, "http://127.0.0.1:"),
        (PlainTextResponse("<html>", 404), UnexpectedAnswer, "is not a DocuChat: uvicorn answered with status 404."),
        (JSONResponse({"detail": "Not Found"}, 404), UnexpectedAnswer, "is not a DocuChat"),
        (JSONResponse({"id": "no user"}), UnexpectedAnswer, "no User: it is not a DocuChat"),
    ],
)
async def test_errors_are_typed_and_one_line(
    service: Service, store: MemoryCredentials, answer: Response, kind: type[Exception], line: str
) -> None:
    service.on("GET", "/v1/users/me", answer)

    async with AsyncDocuChat(service.url, credentials=store, retries=0) as client:
        with pytest.raises(kind) as refused:
            await client.me()

    assert line in str(refused.value) and "\n" not in str(refused.value)
    assert str(refused.value).count("is empty") <= 1


async def test_waits_as_long_as_it_was_asked_to_and_not_longer(service: Service, client: AsyncDocuChat) -> None:
    limited = problem(429, "rate_limited", "Too many requests.", {"Retry-After": "0"})
    service.on("GET", "/v1/users/me", limited, problem(503, "upstream_unavailable", "Away."), JSONResponse(USER))
    assert (await client.me()).email == "a@example.com"

    service.on("GET", "/v1/usage", problem(429, "rate_limited", "Too many requests.", {"Retry-After": "120"}))
    with pytest.raises(RateLimited) as refused:
        await client.usage()
    assert refused.value.retry_after == 120 and service.count("GET", "/v1/usage") == 1


async def test_a_quota_is_not_asked_twice(service: Service, client: AsyncDocuChat) -> None:
    refusal = problem(429, "quota_exceeded", "Used up.", {"Retry-After": "1"}, resets_at="2026-12-01T00:00:00Z")
    service.on("POST", "/v1/chat", refusal)

    with pytest.raises(QuotaExceeded) as refused:
        await client.ask("Why?")

    assert refused.value.resets_at == "2026-12-01T00:00:00Z" and service.count("POST", "/v1/chat") == 1


async def test_what_would_change_things_twice_is_not_repeated(service: Service, client: AsyncDocuChat) -> None:
    service.on("POST", "/v1/chats", problem(503, "upstream_unavailable", "Away."))

    with pytest.raises(Exception, match="Away"):
        await client.create_chat("A title")

    assert service.count("POST", "/v1/chats") == 1


async def test_upload_tells_its_progress_and_repeats_under_one_key(
    service: Service, client: AsyncDocuChat, tmp_path: Path
) -> None:
    bodies: list[bytes] = []

    async def accept(request: Request) -> Response:
        async with request.form() as form:
            upload: Any = form["file"]
            bodies.append(await upload.read())
            title = form["title"]
        if len(bodies) == 1:
            return problem(503, "upstream_unavailable", "Away.", {"Retry-After": "0"})
        return JSONResponse(document(title=title), 202)

    service.on("POST", "/v1/files", accept)
    path = tmp_path / "guide.pdf"
    path.write_bytes(b"%PDF" + bytes(300_000))
    seen: list[tuple[int, int]] = []

    made = await client.upload(path, title="Guide", on_progress=lambda done, total: seen.append((done, total)))

    assert made.title == "Guide" and made.status == "queued"
    assert bodies == [path.read_bytes()] * 2
    assert len(seen) > 4 and seen[-1] == (300_004, 300_004)
    keys = {headers["idempotency-key"] for headers in service.headers}
    assert len(keys) == 1


async def test_watches_by_events(service: Service, client: AsyncDocuChat) -> None:
    stages = (document(), document("processing", pages=2, pages_done=1), document("ready", pages=2, chunks=3))
    service.on("GET", EVENTS, events(*stages))

    assert [found.status async for found in client.watch(DOCUMENT)] == ["queued", "processing", "ready"]
    assert service.count("GET", f"/v1/files/{DOCUMENT}") == 0


async def test_watches_by_asking_when_events_fail(service: Service, client: AsyncDocuChat) -> None:
    service.on("GET", EVENTS, PlainTextResponse("no events here", 404))
    found = [document(), document(), document("failed", error={"code": "encrypted", "detail": "It has a password."})]
    service.on("GET", f"/v1/files/{DOCUMENT}", *(JSONResponse(item) for item in found))

    changes = [change async for change in client.watch(DOCUMENT, poll_seconds=0.01)]

    assert [change.status for change in changes] == ["queued", "failed"]
    assert changes[-1].error is not None and changes[-1].error.code == "encrypted"


async def test_watching_survives_a_cut_in_mid_event(service: Service, client: AsyncDocuChat) -> None:
    cut = events(document(), end=b'event: progress\ndata: {"id": "0000')
    service.on("GET", EVENTS, cut, events(document("ready", pages=1, chunks=1)))
    service.on("GET", f"/v1/files/{DOCUMENT}", JSONResponse(document("processing")))

    statuses = [found.status async for found in client.watch(DOCUMENT, poll_seconds=0.01)]

    assert statuses == ["queued", "processing", "ready"]


async def test_watching_what_is_gone_fails(service: Service, client: AsyncDocuChat) -> None:
    with pytest.raises(NotFound):
        await client.wait_until_settled(DOCUMENT)


async def test_waiting_ends_at_its_time(service: Service, client: AsyncDocuChat) -> None:
    async def endless(_: Request) -> Response:
        async def body() -> Any:
            yield sse([{"type": "progress", **document("processing")}])
            await asyncio.Event().wait()

        return StreamingResponse(body(), media_type="text/event-stream")

    service.on("GET", EVENTS, endless)

    with pytest.raises(ConnectionFailed, match="still processing"):
        await client.wait_until_settled(DOCUMENT, timeout=0.2)


async def test_a_download_that_fails_leaves_nothing(service: Service, client: AsyncDocuChat, tmp_path: Path) -> None:
    async def cut(_: Request) -> Response:
        return Response(b"12345", headers={"content-length": "10"})

    target = tmp_path / "guide.pdf"
    service.on("GET", f"/v1/files/{DOCUMENT}/content", cut, Response(b"whole"))

    with pytest.raises(ConnectionFailed):
        await client.download(DOCUMENT, target)
    assert not target.exists() and not target.with_name(".guide.pdf.partial").exists()
    assert await client.download(DOCUMENT, target) == 5 and target.read_bytes() == b"whole"


async def test_pages_through_all_documents(service: Service, client: AsyncDocuChat) -> None:
    async def page(request: Request) -> Response:
        first = "cursor" not in request.query_params
        return JSONResponse({"items": [document()], "next_cursor": "next" if first else None})

    service.on("GET", "/v1/files", page)

    assert len([found async for found in client.all_documents()]) == 2


async def test_the_synchronous_client_does_the_same(service: Service, store: MemoryCredentials) -> None:
    service.on("GET", "/v1/users/me", JSONResponse(USER))
    service.on("GET", EVENTS, events(document(), document("ready", pages=1, chunks=1)))

    def use() -> list[str]:
        with DocuChat(service.url, credentials=store) as client:
            assert client.me().email == "a@example.com"
            with pytest.raises(NotFound):
                client.chat(CHAT)
            return [found.status for found in client.watch(DOCUMENT)]

    assert await asyncio.to_thread(use) == ["queued", "ready"]
