"""The main job, through the gateway alone: sign in, upload, watch, ask, read the citations, see the tokens, delete."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, answer_text, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.vocabulary import repository_root

_QUESTION = "Was ist ein metrischer Raum?"


def plain(text: str) -> str:
    return "".join(text.split())


async def progress(user: User, document_id: str) -> list[dict[str, Any]]:
    """All events of a document's progress; the stream ends by itself."""
    events = []
    async with user.http.stream("GET", f"/v1/files/{document_id}/events", timeout=60) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        name = ""
        async for line in response.aiter_lines():
            if line.startswith("event:"):
                name = line.removeprefix("event:").strip()
            elif line.startswith("data:") and name == "progress":
                events.append(json.loads(line.removeprefix("data:")))
    return events


async def run(*command: str, environment: dict[str, str], folder: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 90)
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_a_real_book_is_uploaded_asked_about_metered_and_deleted(
    product: Product, user: User, stub_provider: StubProviderHandle, book: Path
) -> None:
    uploaded = await user.upload(book, title="Geometrie und Topologie")
    assert (uploaded["title"], uploaded["filename"]) == ("Geometrie und Topologie", "book.pdf")

    events = await progress(user, uploaded["id"])
    document = events[-1]
    assert document["status"] == "ready", document
    assert (document["pages"], document["pages_done"]) == (117, 117)
    done = [event["pages_done"] or 0 for event in events]
    assert done == sorted(done)
    assert document["chunks"] == len(await product.chunks(uploaded["id"])) > 100

    frames = await user.ask(_QUESTION, document_ids=[uploaded["id"]])
    assert [frame["type"] for frame in frames[:2]] == ["start", "sources"], frames
    start, sources, end = frames[0], frames[1]["sources"], frames[-1]
    assert end["type"] == "end", end
    assert {source["document_id"] for source in sources} == {uploaded["id"]}
    text = answer_text(frames)
    assert end["citations"], text
    by_id = {source["chunk_id"]: source for source in sources}
    pages = await product.chunks(uploaded["id"])
    for citation in end["citations"]:
        assert f"[{citation['number']}]" in text
        assert citation["filename"] == "book.pdf"
        source = by_id[citation["chunk_id"]]
        assert 1 <= source["page"] <= citation["page"] <= citation["page_to"] <= source["page_to"] <= 117
        on_page = [chunk for _, page, page_to, _, _, chunk in pages if page <= citation["page"] <= page_to]
        quote = plain(citation["quote"].strip("… "))
        assert quote and any(quote in plain(chunk) for chunk in on_page), citation

    counted = stub_provider.counts()
    assert end["usage"]["input_tokens"] == counted.prompt_tokens
    assert end["usage"]["output_tokens"] == counted.completion_tokens
    assert not end["usage"]["estimated"]

    async def usage_is_booked() -> dict[str, Any]:
        usage = await user.usage()
        day = usage["last_24h"]
        assert day["input_tokens"] == counted.prompt_tokens
        assert day["output_tokens"] == counted.completion_tokens
        assert day["embedding_tokens"] == counted.embedding_tokens
        # read apart from the sums: an answer may be of the moments before and after a booking
        assert usage["quota"]["tokens"]["used"] == counted.total_tokens
        return usage

    usage = await eventually(usage_is_booked)
    assert usage["last_24h"]["total_tokens"] == counted.total_tokens == usage["last_7d"]["total_tokens"]
    assert isinstance(usage["last_24h"]["cost"], float)
    assert usage["last_24h"]["cost"] > 0
    assert usage["quota"]["tokens"]["held"] == 0
    assert {row["model"] for row in usage["by_model"]} == {"gpt-4o-mini", "text-embedding-3-small"}

    chat = (await user.http.get(f"/v1/chats/{start['chat_id']}")).json()
    assert chat["message_count"] == 2
    stored = (await user.http.get("/v1/messages", params={"chat_id": start["chat_id"]})).json()["items"]
    question, answer = sorted(stored, key=lambda message: message["role"], reverse=True)
    assert (question["role"], question["content"]) == ("user", _QUESTION)
    assert (answer["id"], answer["content"]) == (start["message_id"], text)
    assert answer["citations"] == [citation | {"deleted": False} for citation in end["citations"]]
    original = await asyncio.to_thread(book.read_bytes)
    assert (await user.http.get(f"/v1/files/{uploaded['id']}/content")).content == original

    receipt = (await user.http.delete(f"/v1/files/{uploaded['id']}")).json()
    assert receipt["id"] == uploaded["id"]
    assert receipt["chunks_deleted"] == document["chunks"]
    assert receipt["deleted_at"]
    assert (await user.http.get(f"/v1/files/{uploaded['id']}")).status_code == 404
    assert await user.search(_QUESTION) == []
    calls = len(stub_provider.calls())
    without = await user.ask(_QUESTION)
    assert without[-1]["type"] == "end", without
    assert without[-1]["citations"] == []
    assert not any(frame.get("sources") for frame in without)
    # nothing is ready, so the product says so by itself: no provider is asked for an answer on nothing
    assert [call for call in stub_provider.calls()[calls:] if call.endpoint == "chat"] == []


async def test_an_answer_comes_by_plain_http_and_by_server_sent_events_too(user: User) -> None:
    document = await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)), title="Kettle")

    response = await user.http.post("/v1/chat", json={"message": "How long does the warranty last?", "session_id": "s"})
    answer = response.json()
    assert response.status_code == 200, answer
    assert "36 months" in answer["message"]["content"]
    assert [citation["document_id"] for citation in answer["message"]["citations"]] == [document["id"]]
    assert answer["message"]["citations"][0]["page"] == 1
    assert answer["session_id"] == "s"
    assert answer["usage"]["total_tokens"] == answer["usage"]["input_tokens"] + answer["usage"]["output_tokens"] > 0

    body = {"message": "And the warranty again?", "session_id": "s", "stream": True}
    async with user.http.stream("POST", "/v1/chat", json=body) as streamed:
        lines = [line async for line in streamed.aiter_lines()]
    frames = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    assert [frames[0]["type"], frames[-1]["type"]] == ["start", "end"]
    assert frames[0]["chat_id"] == answer["chat_id"]
    assert answer_text(frames)


async def test_one_idempotency_key_is_one_answer_and_one_booking(user: User, stub_provider: StubProviderHandle) -> None:
    await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
    headers = {"Idempotency-Key": "one-question"}
    body = {"message": "How long is the warranty?"}

    first = (await user.http.post("/v1/chat", json=body, headers=headers)).json()
    again = (await user.http.post("/v1/chat", json=body, headers=headers)).json()
    other = await user.http.post("/v1/chat", json={"message": "Something else?"}, headers=headers)

    assert again["message"]["id"] == first["message"]["id"]
    assert other.status_code == 422
    assert len([call for call in stub_provider.calls() if call.endpoint == "chat"]) == 1


async def test_the_command_line_does_the_main_job(product: Product, documents: Path, tmp_path: Path) -> None:
    async with product.user(await product.new_tenant()) as user:
        environment = {
            **{name: os.environ[name] for name in ("PATH",)},
            "HOME": str(tmp_path),
            "DOCUCHAT_SERVER": product.url,
            "DOCUCHAT_TENANT": str(user.tenant_id),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        program = str(Path(sys.executable).with_name("docuchat"))
        since = product.running.processes["auth"].log.stat().st_size
        await user.http.post("/v1/auth/request-code", json={"email": user.email})
        code = await asyncio.to_thread(product.running.sign_in_code, since)

        async def docuchat(*arguments: str) -> str:
            status, output = await run(program, *arguments, environment=environment, folder=tmp_path)
            assert status == 0, output
            return output

        await docuchat("login", "--email", user.email, "--code", code)
        assert "ready" in await docuchat("upload", str(documents / "handbook-en.pdf"))
        assert "handbook-en" in await docuchat("files", "list")
        asked = await docuchat("ask", "What is this document about?")
        assert "handbook-en" in asked
        assert "p" in asked
        assert await docuchat("chats", "list")
        assert "token" in (await docuchat("usage")).lower()


async def test_the_example_runs_as_it_stands(product: Product, tmp_path: Path) -> None:
    tenant_id = await product.new_tenant()
    status, output = await run(
        sys.executable,
        str(repository_root() / "examples" / "api_usage.py"),
        "--server",
        product.url,
        "--tenant",
        str(tenant_id),
        "--auth-log",
        str(product.running.processes["auth"].log),
        "--clean-up",
        environment={"PATH": os.environ["PATH"], "PYTHONUTF8": "1"},
        folder=tmp_path,
    )
    assert status == 0, output
    assert "Ready: " in output
    assert "Deleted the chat, and the document with" in output
    assert output.rstrip().endswith("Signed out")
