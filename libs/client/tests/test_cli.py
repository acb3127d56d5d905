"""The command line; as a child process where signals and exit codes matter."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import stat
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from docuchat_client import Conflict, DocuChatError, FileCredentials, InvalidInput, NotFound, Unauthenticated
from docuchat_client.cli.session import explained, local_server, note_wait, screen
from docuchat_client.cli.uploads import _UploadView
from docuchat_client.rendering import shortened
from docuchat_testkit.eventually import eventually

from .conftest import (
    CHAT,
    DOCUMENT,
    NOW,
    TURN,
    USER,
    Command,
    Service,
    document,
    frames,
    problem,
    sends,
    sse,
    token,
    without_id,
)

CHAT_JSON = {"id": CHAT, "title": "Warranty", "created_at": NOW, "updated_at": NOW, "message_count": 2}
ESCAPE = "\x1b[31mred\x07"


async def test_login_asks_for_the_code_and_logout_forgets(service: Service, signed_out: Command) -> None:
    service.on("POST", "/v1/auth/request-code", JSONResponse({"status": "sent", "expires_in": 600}, 202))
    kept = token("good")
    service.good_tokens.add(kept)
    service.on("POST", "/v1/auth/verify-code", JSONResponse({"access_token": kept, "refresh_token": "r"}))
    service.on("GET", "/v1/users/me", JSONResponse(USER))
    service.on("POST", "/v1/auth/logout", Response(status_code=204))

    done = await signed_out("login", "--email", "a@example.com", "--server", service.url, text="123456\n")

    assert done.code == 0, done.err
    assert "Signed in as a@example.com (owner) at Demo." in done.out
    path = signed_out.folder / "credentials.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (await signed_out("whoami")).out.startswith("a@example.com (owner) at Demo (tenant 1, demo)")
    assert (await signed_out("logout")).code == 0
    assert not path.exists()


async def test_exit_codes_and_one_line_errors(service: Service, signed_out: Command, docuchat: Command) -> None:
    gone = await docuchat.as_process("files", "show", DOCUMENT)
    assert (gone.code, gone.err) == (4, "docuchat: There is no such object [not_found]\n")

    refusal = problem(429, "quota_exceeded", "The quota is used up.", {"Retry-After": "60"}, resets_at="2026-12-01")
    service.on("GET", "/v1/usage", refusal)
    quota = await docuchat("usage")
    assert (quota.code, quota.err.count("\n")) == (5, 1) and "it starts anew at 2026-12-01" in quota.err

    service.good_tokens.clear()
    expired = await docuchat("whoami")
    assert expired.code == 3 and "sign in with `docuchat login` [token_expired]" in expired.err

    docuchat.environment["DOCUCHAT_SERVER"] = "http://127.0.0.1:1"
    docuchat.environment["DOCUCHAT_TOKEN"] = "t"
    away = await docuchat("whoami")
    assert away.code == 6 and "cannot be reached" in away.err

    assert (await docuchat("no-such-command")).code == 2


async def test_a_kept_token_is_not_sent_to_another_server(service: Service, docuchat: Command) -> None:
    docuchat.environment["DOCUCHAT_SERVER"] = service.url.replace("127.0.0.1", "localhost")

    done = await docuchat("whoami")

    assert done.code == 3 and "not at http://localhost" in done.err and service.requests == []


async def test_a_local_run_is_found_by_its_folder(
    service: Service, signed_out: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local, below = tmp_path / "product" / ".local", tmp_path / "product" / "docs"
    for folder in (local, below):
        folder.mkdir(parents=True)
    (local / "operator.json").write_text(json.dumps({"server": service.url, "key": "k"}))
    monkeypatch.chdir(below)
    kept = next(iter(service.good_tokens))
    service.on("POST", "/v1/auth/verify-code", JSONResponse({"access_token": kept, "refresh_token": "r"}))
    service.on("GET", "/v1/users/me", JSONResponse(USER))

    done = await signed_out("login", "--email", "a@example.com", "--code", "123456")
    assert done.code == 0, done.err
    assert (await signed_out("whoami")).out.endswith(f"{service.url}\n")

    (local / "operator.json").write_text(json.dumps({"server": "http://127.0.0.1:23096", "key": "k"}))
    store = FileCredentials(signed_out.folder / "credentials.json")
    signed_in = store.load()
    assert signed_in is not None
    store.save(signed_in.model_copy(update={"server": "http://127.0.0.1:1"}))  # the run was there, and is no more
    moved = await signed_out("whoami")
    assert moved.code == 6 and "of this folder is at http://127.0.0.1:23096: sign in" in moved.err

    (local / "operator.json").write_text(json.dumps({"server": "https://elsewhere.example", "key": "k"}))
    assert local_server() == "http://localhost:8000"


async def test_another_program_at_the_address_is_named(service: Service, signed_out: Command) -> None:
    service.on("POST", "/v1/auth/request-code", Response("<html>", 501))

    done = await signed_out("login", "--email", "a@example.com", "--server", service.url)

    said = f"docuchat: {service.url} is not a DocuChat: uvicorn answered with status 501 [unexpected_answer]\n"
    assert (done.code, done.err) == (1, said)


async def test_upload_says_what_became_of_each_file_and_fails_when_a_document_does(
    service: Service, docuchat: Command, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.pdf", tmp_path / "bad.pdf"
    good.write_bytes(b"%PDF good")
    bad.write_bytes(b"%PDF bad")
    other = CHAT

    async def accept(request: Any) -> Response:
        async with request.form() as form:
            name = form["file"].filename
        return JSONResponse(document(id=DOCUMENT if name == "good.pdf" else other, filename=name), 202)

    def progress(*items: dict[str, Any]) -> Response:
        return Response(sse([{"type": "progress", **item} for item in items]), media_type="text/event-stream")

    service.on("POST", "/v1/files", accept)
    ready = document("ready", pages=2, chunks=1)
    service.on("GET", f"/v1/files/{DOCUMENT}/events", progress(document("processing", pages=2, pages_done=1), ready))
    failed = document("failed", id=other, error={"code": "encrypted", "detail": "The file has a password."})
    service.on("GET", f"/v1/files/{other}/events", progress(failed))

    done = await docuchat("upload", str(good), str(bad))

    assert done.code == 1, done.err
    assert sorted(done.out.splitlines()) == [
        f"bad.pdf: failed: The file has a password. (encrypted) [{other}]",
        f"good.pdf: ready, 2 pages, 1 chunk [{DOCUMENT}]",
    ]
    assert done.err == "2 files: 1 failed, 1 ready.\n"
    assert (await docuchat("upload", "--no-wait", str(good))).code == 0
    assert (await docuchat("upload", str(tmp_path / "missing.pdf"))).code == 2


async def test_upload_waits_as_long_as_it_is_told_and_goes_on(
    service: Service, docuchat: Command, tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.pdf" for number in range(3)]
    for path in paths:
        path.write_bytes(b"%PDF")
    limited = problem(429, "rate_limited", "More than 50 requests a minute.", {"Retry-After": "0.01"})
    service.on("POST", "/v1/files", *[limited] * 20, JSONResponse(document("queued"), 202))
    ready = {"type": "progress", **document("ready", pages=1, chunks=1)}
    stream = Response(sse([ready]), media_type="text/event-stream")
    service.on("GET", f"/v1/files/{DOCUMENT}/events", limited, limited, limited, stream)
    service.on("GET", f"/v1/files/{DOCUMENT}", limited, limited, JSONResponse(document("processing")))

    done = await docuchat("upload", *map(str, paths))

    assert done.code == 0, done
    assert sorted(line.partition(" [")[0] for line in done.out.splitlines()) == [
        f"{number}.pdf: ready, 1 page, 1 chunk" for number in range(3)
    ]
    assert done.err == "3 files: 3 ready.\n"
    keys = {headers["idempotency-key"] for headers in service.headers if "idempotency-key" in headers}
    assert len(keys) == 3


async def test_a_command_waits_as_long_as_it_is_told_whatever_it_does(service: Service, docuchat: Command) -> None:
    limited = problem(429, "rate_limited", "More than 50 a minute; try again in 28 s.", {"Retry-After": "0.01"})
    group = {"id": CHAT, "name": "Readers", "members": 0, "created_at": NOW}
    service.on("POST", "/v1/groups", limited, JSONResponse(group, 201))
    codes = JSONResponse({"recovery_codes": ["mfrg-gzdf"]})
    service.on("POST", "/v1/users/me/second-factor/recovery-codes", limited, codes)
    assert (await docuchat("groups", "create", "Readers")).code == 0
    assert (await docuchat("second-factor", "recovery-codes")).out == "mfrg-gzdf\n"

    refusal = {"type": "error", "code": "rate_limited", "message": "More than 50 a minute.", "retry_after": 0.01}
    service.sockets += [sends([refusal]), sends(frames())]
    assert (await docuchat("ask", "How long?")).code == 0

    said = problem(429, "rate_limited", "More than 50 a minute; try again in 90 s.", {"Retry-After": "90"})
    service.on("GET", "/v1/usage", said)
    impatient = await docuchat("usage")
    assert (impatient.code, impatient.err) == (5, "docuchat: More than 50 a minute; try again in 90 s [rate_limited]\n")


def test_a_long_wait_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.StringIO()
    monkeypatch.setattr(screen, "err", Console(file=err, width=200))
    note_wait(0.5)
    note_wait(28)
    assert err.getvalue() == "Too many requests in a minute: waiting 28 s, as the service asks.\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Unauthenticated("Get a new one with the refresh token.", code="token_outdated"), "was ended; sign in with"),
        (Unauthenticated("It has expired; use the refresh token or sign in again.", code="token_expired"),
         "It has expired; sign in with `docuchat login` [token_expired]"),
        (Conflict("Or with it by `?documents=delete`.", code="collection_not_empty"), "with it by --with-documents ["),
        (InvalidInput("Say its slug in `confirm`.", code="slug_mismatch"), "`docuchat tenant show` says it"),
    ],
)  # fmt: skip
def test_a_refusal_names_what_a_command_can_do(error: DocuChatError, said: str) -> None:
    assert said in explained(error) and explained(error).count("sign in") <= 1


async def test_a_used_up_quota_is_not_waited_for(service: Service, docuchat: Command, tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    service.on("POST", "/v1/files", problem(429, "quota_exceeded", "The quota is used up.", {"Retry-After": "0"}))

    done = await docuchat("upload", str(tmp_path / "a.pdf"))

    assert done.code == 5 and service.count("POST", "/v1/files") == 1


def test_names_stay_apart_and_bars_fit_eighty_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(screen, "out", Console(file=out, force_terminal=True, width=80, highlight=False))
    names = [f"annual-report-of-the-company-for-the-year-{year}.pdf" for year in range(1990, 2050)]
    assert len({shortened(name, 24) for name in names}) == 60 and all(len(shortened(name, 24)) == 24 for name in names)
    paths = [Path(name) for name in names]
    with _UploadView(paths) as view:
        for path in paths:
            view.sent(path, 10, 1_000_000)
        assert view._bars is not None
        lines = ["".join(part.text for part in line) for line in screen.out.render_lines(view._bars)]
        assert len(lines) == 9 and all(len(line) <= 80 for line in lines)  # eight bars and the total
        assert "0 of 60 done" in lines[0] and "-1990.pdf" in lines[1]
        for path in paths:
            view.failed(path, NotFound())
        assert len(screen.out.render_lines(view._bars)) == 1
    for name in names:
        assert f"{name}: failed" in out.getvalue()


async def test_login_asks_again_for_a_code_that_was_typed_wrong(service: Service, signed_out: Command) -> None:
    sent = {"status": "sent", "expires_in": 600, "challenge": "c" * 32}
    service.on("POST", "/v1/auth/request-code", JSONResponse(sent, 202))
    kept = next(iter(service.good_tokens))
    wrong = problem(401, "invalid_code", "The code is wrong, used up or expired; request a new one.")
    tokens = JSONResponse({"access_token": kept, "refresh_token": "r"})
    service.on("POST", "/v1/auth/verify-code", wrong, wrong, tokens, wrong)
    service.on("GET", "/v1/users/me", JSONResponse(USER))
    arguments = ("login", "--email", "a@example.com", "--server", service.url)

    done = await signed_out(*arguments, text="111111\n222222\n123456\n")

    assert done.code == 0 and done.err.count("look again") == 2
    bodies = [json.loads(body) for body in service.raw if body]
    assert bodies[0] == {"email": "a@example.com"}
    assert {body["challenge"] for body in bodies[1:]} == {"c" * 32}
    again = await signed_out(*arguments, text="1\n2\n3\n4\n")
    assert again.code == 3 and again.err.count("look again") == 2 and "docuchat login" not in again.err
    bodies = [json.loads(body) for body in service.raw if body]
    assert bodies[4] == {"email": "a@example.com", "challenge": "c" * 32}  # this program has signed in before
    assert (await signed_out(*arguments, "--code", "123456")).code == 3


async def test_ask_streams_the_answer_and_its_citations(service: Service, docuchat: Command) -> None:
    items = frames()
    items[-1]["citations"][0]["title"] = f"Guide{ESCAPE}"
    lost = {"number": 2, "title": "", "filename": "", "quote": "", "deleted": True}
    items[-1]["citations"].append(items[-1]["citations"][0] | lost)
    items[2]["token"] = f"Two{ESCAPE} "
    service.sockets.append(sends(items))

    done = await docuchat("ask", "How long?", "--chat", CHAT)

    assert done.code == 0, done.err
    assert done.out == (
        'Two[31mred years [1], said the guide.\n\n[1] Guide[31mred, p. 3: "lasts two years"\n'
        "[2] (no longer available)\n"
    )
    assert without_id(service.heard) == [{"message": "How long?", "chat_id": CHAT}]


@pytest.mark.parametrize(
    "arguments",
    [("ask", "?", "--document", "123"), ("ask", "?", "--chat", "123"), ("search", "?", "--document", "123")],
)
async def test_what_is_no_id_is_told_by_the_name_of_its_option(
    service: Service, docuchat: Command, arguments: tuple[str, ...]
) -> None:
    done = await docuchat(*arguments)
    assert done.code == 2 and arguments[2] in done.err and "123 is no id" in done.err
    assert service.heard == service.raw == []


async def test_ask_reads_standard_input_and_prints_json(service: Service, docuchat: Command) -> None:
    message = {"id": CHAT, "role": "assistant", "content": "Two years [1]", "citations": []}
    answer = {"chat_id": CHAT, "turn_id": TURN, "message": message, "usage": {"total_tokens": 3}, "model": "m"}
    service.on("POST", "/v1/chat", JSONResponse(answer))

    done = await docuchat("ask", "-", "--json", text="How long?")

    assert json.loads(done.out)["message"]["content"] == "Two years [1]"


async def test_an_interrupted_ask_stops_the_answer(service: Service, docuchat: Command) -> None:
    service.on("POST", f"/v1/turns/{TURN}/stop", JSONResponse({}, 202))

    async def endless(socket: WebSocket, _: Any) -> None:
        for frame in frames()[:3]:
            await socket.send_json(frame)
        await socket.receive()

    service.sockets.append(endless)
    process = await docuchat.start("ask", "How long?")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readexactly(4), 30)

    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 30)

    assert process.returncode == 130
    await eventually(lambda: service.count("POST", f"/v1/turns/{TURN}/stop") == 1)


async def test_files(service: Service, docuchat: Command, tmp_path: Path) -> None:
    service.on("GET", "/v1/files", JSONResponse({"items": [document("ready", title="Guide", pages=2, chunks=3)]}))
    service.on("GET", f"/v1/files/{DOCUMENT}", JSONResponse(document(filename="../../etc/passwd")))
    service.on("GET", f"/v1/files/{DOCUMENT}/content", Response(b"bytes"))
    receipt = {"id": DOCUMENT, "deleted_at": NOW, "chunks_deleted": 3}
    service.on("DELETE", f"/v1/files/{DOCUMENT}", JSONResponse(receipt))

    listed = await docuchat("files", "list")
    assert listed.out.startswith(f"{DOCUMENT}\tGuide\t10 B\tready, 2 pages, 3 chunks\t")
    assert json.loads((await docuchat("files", "list", "--json")).out)["items"][0]["title"] == "Guide"
    assert "id " + DOCUMENT in (await docuchat("files", "show", DOCUMENT)).out
    assert (await docuchat("files", "download", DOCUMENT, "-o", "-")).out == "bytes"
    refused = await docuchat("files", "delete", DOCUMENT, text="n\n")
    assert refused.code == 1 and service.count("DELETE", f"/v1/files/{DOCUMENT}") == 0
    assert "--yes" in refused.err
    assert "and 3 chunks" in (await docuchat("files", "delete", DOCUMENT, "--yes")).out


async def test_chats(service: Service, docuchat: Command) -> None:
    message = {"id": CHAT, "role": "user", "content": "How long?", "created_at": NOW}
    service.on("GET", "/v1/chats", JSONResponse({"items": [CHAT_JSON], "next_cursor": None}))
    service.on("GET", f"/v1/chats/{CHAT}", JSONResponse({**CHAT_JSON, "messages": [message]}))
    service.on("PATCH", f"/v1/chats/{CHAT}", JSONResponse({**CHAT_JSON, "title": "New"}))
    service.on("DELETE", f"/v1/chats/{CHAT}", Response(status_code=204))

    assert (await docuchat("chats", "list")).out.startswith(f"{CHAT}\tWarranty\t2\t")
    assert "How long?" in (await docuchat("chats", "show", CHAT)).out
    assert (await docuchat("chats", "rename", CHAT, "New")).out == f"{CHAT}: New\n"
    assert (await docuchat("chats", "delete", CHAT, "-y")).code == 0


async def test_search_and_usage(service: Service, docuchat: Command) -> None:
    result = {
        "chunk_id": CHAT,
        "document_id": DOCUMENT,
        "title": "Guide",
        "page": 3,
        "text": "Two\nyears",
        "score": 0.5,
    }
    service.on("GET", "/v1/search", JSONResponse({"results": [{**result, "score": 0.5}]}))
    window = {"input_tokens": 1200, "output_tokens": 30, "total_tokens": 1230, "cost": "0.001230", "currency": "USD"}
    quota = {"tokens": {"limit": 5000, "used": 1230, "held": 0, "remaining": 3770}, "resets_at": NOW}
    service.on("GET", "/v1/usage", JSONResponse({"last_24h": window, "quota": quota, "by_model": []}))

    found = await docuchat("search", "How long?")
    assert found.out == "1. Guide, p. 3  0.500\n   Two years\n"
    spent = await docuchat("usage")
    assert spent.out.splitlines()[0] == "last 24 hours\t1,200\t30\t0\t1,230\t0.00123 USD"
    assert "3,770 of 5,000 tokens left until" in spent.out
