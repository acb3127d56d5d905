"""What the client asks and reads of chatbots, chats and events is in the gateway's OpenAPI document."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from docuchat_client import (
    AsyncDocuChat,
    DemoLimitReached,
    DocuChatError,
    chat_models,
    chatbot_models,
    identity,
    models,
    provider_models,
    usage_models,
)
from docuchat_client.chat_models import FeedbackReason
from docuchat_client.cli.chatbots import Clearable

from .calls import PUBLISHABLE, SAID
from .conftest import CHAT, DOCUMENT, Command, Service, document, frames, problem, sse
from .documented import Documented, example, openapi, resolved

READ = {
    models.Answer: "AnswerView", models.AttachedFile: "AttachedFileView", models.Begun: "BegunView",
    models.Chat: "ChatView", models.ChatWithMessages: "ChatWithMessages", usage_models.ChatbotUsage: "ChatbotUsage",
    models.Delta: "DeltaFrame", models.End: "EndFrame", models.Feedback: "FeedbackView", models.Match: "MatchView",
    models.Message: "PlacedMessageView", models.Sources: "SourcesFrame", models.Start: "StartFrame",
    usage_models.Usage: "UsageReport", provider_models.AvailableModel: "ModelView",
    provider_models.ProviderHealth: "HealthView", provider_models.ModelProvider: "ProviderView",
    provider_models.ProviderCheck: "CheckView", models.Document: "DocumentView", models.DocumentInfo: "DocumentInfo",
    models.PageText: "PageTextView", models.Passage: "PassageView", models.PassageText: "PassageText",
    identity.Passkey: "PasskeyView", identity.LinkedIdentity: "LinkedIdentityView",
    chat_models.ChatSession: "ChatSessionView",
    chat_models.OpenedChatSession: "OpenedChatSession", chat_models.Share: "ShareView",
    chat_models.IssuedShare: "IssuedShareView", chat_models.SharedChat: "SharedChatView",
    chat_models.SharedMessage: "SharedMessageView", chat_models.Ticket: "TicketView",
    chatbot_models.AnswerPolicy: "AnswerPolicyView", chatbot_models.AskedChat: "AskedChatView",
    chatbot_models.AskedChatWithMessages: "AskedChatWithMessages", chatbot_models.Change: "ChangeView",
    chatbot_models.Changes: "ChangesView", chatbot_models.Chatbot: "ChatbotView",
    chatbot_models.ChatbotAnswer: "ChatbotAnswer", chatbot_models.ChatbotConfig: "ConfigView",
    chatbot_models.ChatbotKey: "KeyView", chatbot_models.ChatbotSecret: "SecretView",
    chatbot_models.ChatbotVersion: "VersionView", chatbot_models.Colours: "ColoursView",
    chatbot_models.Comment: "CommentView", chatbot_models.CreatedChatbot: "CreatedChatbotView",
    chatbot_models.Insights: "InsightsView", chatbot_models.Opinions: "OpinionsView",
    chatbot_models.Published: "PublishedView", chatbot_models.RotatedKey: "RotatedKeyView",
    chatbot_models.ShownChatbot: "ShownChatbot", chatbot_models.Snippet: "SnippetView",
    chatbot_models.Unanswered: "UnansweredView",
    chatbot_models.UseOfDay: "UseOfDayView", chatbot_models.VisitorToken: "VisitorToken",
}  # fmt: skip


@pytest.fixture
def documented(service: Service) -> Documented:
    return Documented.of(service)


@pytest.mark.parametrize("model", READ, ids=lambda model: model.__name__)
def test_what_the_client_reads_is_what_the_document_says(model: type[models.Model]) -> None:
    schema = openapi()["components"]["schemas"][READ[model]]
    fields = model.model_fields
    assert set(fields) - set(schema["properties"]) == set()
    assert {name for name, field in fields.items() if field.is_required()} - set(schema.get("required", ())) <= {
        "expires_in"
    }


def test_every_choice_of_the_document_can_be_made() -> None:
    schemas = openapi()["components"]["schemas"]
    reasons = schemas["GiveFeedback"]["properties"]["reason"]["anyOf"][0]
    assert list(get_args(FeedbackReason)) == resolved(reasons)["enum"]
    fields = set(schemas["ChatbotChanges"]["properties"])
    assert set(SAID) | {"name", "revision"} == fields
    assert {one.value for one in Clearable} == fields - {"name", "revision", "colours", "answer_policy"}


async def test_a_stream_of_events_goes_on_behind_what_was_read(service: Service, client: AsyncDocuChat) -> None:
    def told(*events: tuple[str, str, str]) -> Response:
        text = "".join(f"id: {place}\nevent: {name}\ndata: {data}\n\n" for place, name, data in events)
        return Response(": still here\n\n" + text, media_type="text/event-stream")

    broken = '{"type": "error", "code": "upstream_unavailable", "message": "Away.", "retry_after": 0.01}'
    service.on(
        "GET", "/v1/events",
        told(("1-0", "hello", "{}"), ("2-0", "document_deleted", f'{{"id": "{CHAT}"}}')),
        told(("", "error", broken)),
        problem(503, "upstream_unavailable", "Away.", {"Retry-After": "0.01"}),
        told(("3-0", "delta", f'{{"type": "delta", "turn_id": "{CHAT}", "seq": 1, "token": "Two"}}')),
    )  # fmt: skip

    seen = []
    async for event in client.events(since="0-7"):
        seen.append(event)
        if len(seen) == 3:
            break

    assert [event.type for event in seen] == ["hello", "document_deleted", "delta"]
    assert seen[2].of_answer == models.Delta(seq=1, token="Two") and seen[1].of_answer is None
    asked = [headers.get("last-event-id") for headers in service.headers]
    assert asked == ["0-7", "2-0", "2-0", "2-0"]


async def test_a_stream_of_events_that_is_refused_ends(service: Service, client: AsyncDocuChat) -> None:
    service.on("GET", "/v1/events", problem(403, "not_allowed", "A key may not follow."))
    with pytest.raises(DocuChatError, match="may not follow"):
        await anext(client.events())
    assert service.count("GET", "/v1/events") == 1


async def test_used_up_demo_messages_are_not_asked_for_twice(service: Service, client: AsyncDocuChat) -> None:
    path = f"/v1/public/chatbots/{PUBLISHABLE}/query"
    detail = "The messages that visitors of this chatbot may send are used up."
    service.on("POST", path, problem(429, "demo_limit_reached", detail, {"Retry-After": "0"}, layer="visitor"))
    for ask in (client.query_public(PUBLISHABLE, "q"), client.stream_public(PUBLISHABLE, "q").text().__anext__()):
        with pytest.raises(DemoLimitReached) as refused:
            await ask
        assert refused.value.layer == "visitor"
    assert service.count("POST", path) == 2


async def test_a_visitors_token_goes_out_with_its_page(service: Service) -> None:
    service.good_tokens = {"visitor"}
    answer = Response(sse(frames()), media_type="text/event-stream")
    service.on("POST", f"/v1/public/chatbots/{PUBLISHABLE}/query", answer)
    page = "https://shop.example"
    async with (
        AsyncDocuChat(service.url, access_token="visitor", origin=page) as visitor,
        visitor.stream_public(PUBLISHABLE, "q") as stream,
    ):
        assert [word async for word in stream.text()]
    assert (service.headers[0]["origin"], service.headers[0]["authorization"]) == (page, "Bearer visitor")


async def test_who_signed_in_long_ago_makes_a_chatbot_and_is_told_how_to_see_its_key(
    documented: Documented, docuchat: Command
) -> None:
    made = example(openapi()["components"]["schemas"]["CreatedChatbotView"]) | {"secret_key": None}

    async def withheld(_: Request) -> Response:
        return JSONResponse(made, 201)

    documented["POST", "/v1/chatbots"] = [withheld]
    created = await docuchat("chatbots", "create", "Help")
    assert (created.code, created.out) == (0, ""), created.err
    assert f"`docuchat login`, then `docuchat chatbots rotate-key {CHAT}`" in created.err


async def test_a_chatbot_is_made_filled_published_and_asked(
    documented: Documented, docuchat: Command, tmp_path: Path
) -> None:
    (tmp_path / "faq.pdf").write_bytes(b"%PDF")
    (tmp_path / "prompt.txt").write_text("Be kind.")

    created = await docuchat(
        "chatbots", "create", "Help", "--prompt-file", str(tmp_path / "prompt.txt"), "--refuse", "war"
    )
    assert (created.code, created.out) == (0, "text\n") and "shown once" in created.err, created.err
    assert (await docuchat("chatbots", "upload", "text", str(tmp_path / "faq.pdf"), "--no-wait")).code == 0
    said = "--greeting", "Hi", "--fallback-model", "spare/small"
    edited = await docuchat("chatbots", "edit", "TEXT", *said, "--clear", "model", "--documents-only")
    assert edited.code == 0 and "greeting: text" in edited.out, edited.err
    assert "version 1 from now on" in (await docuchat("chatbots", "publish", "text")).out
    diff = await docuchat("chatbots", "diff", "text", "2", "--from", "1")
    assert diff.out == "text, from version 1 to version 1\ntext\n  - null\n  + null\n", diff.err
    assert (await docuchat("chatbots", "restore", "text", "1")).code == 0
    asked = await docuchat("chatbots", "ask", "text", "How long?", "--version", "draft")
    assert asked.out.startswith("Two years [1], said the guide.\n\n[1] Guide, p. 3"), asked.err
    rotated = await docuchat("chatbots", "rotate-key", "text", "--overlap", "60")
    assert rotated.out == "text\n" and "The older secret works until 2026-11-20" in rotated.err
    for shown in ("list", "show text", "show text --version 1", "versions text", "documents text",
                  "conversations text", f"conversations text {CHAT}", "insights text", "snippet text"):  # fmt: skip
        done, whole = await docuchat("chatbots", *shown.split()), await docuchat("chatbots", *shown.split(), "--json")
        assert done.code == whole.code == 0 and done.out and json.loads(whole.out), (shown, done.err, whole.err)
    assert (await docuchat("chatbots", "unpublish", "text")).code == 1  # nobody agreed
    assert (await docuchat("chatbots", "delete", "text", "--yes")).out == "Deleted text.\n"
    wrong = await docuchat("chatbots", "ask", "text", "q", "--version", "last")
    assert wrong.code == 2 and "or draft" in wrong.err
    unknown = await docuchat("chatbots", "show", "nothing")
    assert unknown.code == 4 and "`docuchat chatbots list` shows them" in unknown.err

    sent = {(method, path): body for method, path, body in documented.asked if body is not None}
    assert sent["POST", "/v1/chatbots"] == {
        "name": "Help", "system_prompt": "Be kind.",
        "answer_policy": {"own_knowledge": False, "citations_required": False, "refused_subjects": ["war"]},
    }  # fmt: skip
    policy = {"own_knowledge": False, "citations_required": True, "refused_subjects": ["text"]}
    assert sent["PATCH", f"/v1/chatbots/{CHAT}"] == {
        "model": None, "fallback_model": "spare/small", "greeting": "Hi", "answer_policy": policy, "revision": 1,
    }  # fmt: skip
    assert sent["POST", f"/v1/chatbots/{CHAT}/query"] == {"question": "How long?", "version": "draft", "stream": True}
    assert sent["POST", f"/v1/chatbots/{CHAT}/rotate_key"] == {"overlap_seconds": 60}


async def test_chats_are_kept_shared_and_rated(
    service: Service, documented: Documented, docuchat: Command, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.pdf"
    letter.write_bytes(b"%PDF")
    exported = tmp_path / "chat.md"
    assert (await docuchat("chats", "search", "warranty")).out == f"text [{CHAT}]\n   text\n"
    for acted, said in {
        f"pin {CHAT}": "text is pinned.", f"unpin {CHAT}": "text is pinned no more.",
        f"archive {CHAT}": "text is archived.", f"unarchive {CHAT}": "text is in the list again.",
        f"branch {CHAT} {CHAT}": "text shows that branch.", f"share {CHAT} --with link --expires 1d": "text",
        f"unshare {CHAT}": f"{CHAT} leads nowhere.", f"export {CHAT} -o {exported}": f"{exported}: 2 B",
    }.items():  # fmt: skip
        done = await docuchat("chats", *acted.split())
        assert (done.code, done.out) == (0, f"{said}\n"), (acted, done.err)
    assert (await docuchat("chats", "shares", CHAT)).out.startswith(f"{CHAT}\ttenant\t")
    shown = await docuchat("chats", "show", CHAT, "--branches")
    assert f"[{CHAT}]" in shown.out and "attached: text" in shown.out and "rated up: correct: text" in shown.out
    assert (await docuchat("feedback", CHAT, "down", "--reason", "outdated")).out == "Rated up, correct.\n"
    assert (await docuchat("feedback", CHAT, "none")).out == "Taken back.\n"
    assert (await docuchat("regenerate", CHAT)).out.startswith("Two years [1]")
    happened = await docuchat("events", "--limit", "1", "--json")
    assert json.loads(happened.out)["type"] == "start", happened.err
    used = await docuchat("usage")
    assert "text\t1\t1\t1\t1.00 text" in used.out, used.err

    documented["POST", "/v1/attachments"] = [_answering(document("ready", pages=1, chunks=1), 202)]
    assert (await docuchat("ask", "How?", "--chatbot", "text", "--attach", str(letter), "--json")).code == 0
    assert documented.asked[-1][2] == {"message": "How?", "chatbot_id": CHAT, "attachments": [DOCUMENT]}
    failed = document("failed", error={"code": "encrypted", "detail": "It has a password."})
    documented["POST", "/v1/attachments"] = [_answering(failed, 202)]
    refused = await docuchat("ask", "How?", "--attach", str(letter))
    assert refused.code == 1 and "letter.pdf failed: It has a password. (encrypted)" in refused.err

    changes = [body for method, path, body in documented.asked if method == "PATCH"]
    assert changes == [{"pinned": True}, {"pinned": False}, {"archived": True}, {"archived": False}, {"head_id": CHAT}]
    shared = next(body for _, path, body in documented.asked if path.endswith("/share"))
    assert shared["audience"] == "link" and 86_300 < shared["expires_in_seconds"] <= 86_400


def _answering(body: Any, status: int) -> Callable[[Request], Awaitable[Response]]:
    async def answer(_: Request) -> Response:
        return JSONResponse(body, status)

    return answer
