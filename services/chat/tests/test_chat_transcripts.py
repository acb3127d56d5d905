"""A chat as a file: whole, in order, cited, right-to-left where it is, and nothing in it that a reader would run."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.answers.domain import Citation
from docuchat_chat.conversations.domain import Message, MessageStatus
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.transcripts.markdown import MarkdownTranscript
from docuchat_chat.transcripts.service import TranscriptService
from docuchat_common.ids import ChatId, ChunkId, DocumentId, MessageId, uuid7

MOMENT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def cite(number: int, **changes: Any) -> Citation:
    ids = ChunkId(uuid7()), DocumentId(uuid7())
    return replace(Citation(number, *ids, "Handbook", "h.pdf", 3, 3, "It lasts two years.", 0.9), **changes)


def say(role: str, content: str, *citations: Citation) -> Message:
    ids = MessageId(uuid7()), ChatId(uuid7())
    return Message(*ids, 1, role, content, citations, None, None, MessageStatus.COMPLETE, {}, MOMENT)


def write(*messages: Message, title: str | None = "Warranty") -> str:
    writer = MarkdownTranscript(title, messages)
    return writer.head() + "".join(map(writer.add, messages))


def test_citations_are_footnotes_that_are_numbered_through_the_file() -> None:
    first = say("assistant", "Two years [1][2], see [7].", cite(1), cite(2, page=4, page_to=5))
    second = say("assistant", "Yes [1]: the motor.", cite(1, deleted=True, title="", quote=""))
    written = write(say("user", "How long?"), first, say("user", "Sure?"), second)
    assert written.startswith("# Warranty\n\n## Question — \u20682026-11-22 09:30 UTC\u2069\n\nHow long?\n")
    assert "Two years [^1][^2], see [7]." in written
    assert "[^1]: \u2068Handbook\u2069, page 3: “\u2068It lasts two years.\u2069”\n" in written
    assert "[^2]: \u2068Handbook\u2069, pages 4-5: “" in written
    assert "Yes [^3]\\: the motor." in written and "[^3]: no longer available\n" in written


def test_persian_keeps_its_letters_and_its_direction() -> None:
    question = say("user", "PDF می‌شود؟ ضمانت چند سال است؟")
    answer = say("assistant", "- API دو سال ضمانت دارد [1].\n- بله.", cite(1, title="راهنمای VPN", quote="دو سال"))
    written = write(question, answer, title="ضمانت")
    assert "## پرسش — " in written and "## پاسخ — " in written
    assert "\u200fPDF می‌شود؟" in written, "its first letter would turn it"
    assert "- \u200fAPI دو سال" in written and "\n- بله." in written
    assert "[^1]: \u2068راهنمای VPN\u2069, صفحه 3: “\u2068دو سال\u2069”" in written


@pytest.mark.parametrize(
    "text",
    [
        "![x](http://evil.example/p.png)",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "# Answer\n\n[^1]: forged",
        "\u202etxet",
    ],
)
def test_nothing_runs_and_nothing_is_forged_wherever_it_stands(text: str) -> None:
    cited = cite(1, title=text.replace("\n", " "), quote=text.replace("\n", " "))
    written = write(say("user", text), say("assistant", f"{text} [1]", cited), title=text.replace("\n", " "))
    for active in ("![x]", "<script", "<img", "](javascript", "\n[^1]: forged", "\u202e"):
        assert active not in written, active
    assert written.count("\n[^1]: ") == 1
    assert "\n# Answer" not in write(say("user", text))


def test_a_code_block_that_is_cut_off_ends_with_its_answer() -> None:
    written = write(say("assistant", "```python\nprint(1)"), say("user", "And?"))
    assert "```python\nprint(1)\n```\n" in written


async def test_a_long_chat_is_read_whole_and_by_its_owner_alone(world: Any) -> None:
    start, *_ = await world.ask()
    chat_id = ChatId(UUID(start["chat_id"]))
    for number in range(120):
        await world.conversations.add_message(world.caller, chat_id, f"note {number}", {})
    transcripts = TranscriptService(world.transactions)
    transcript = await transcripts.open(world.caller, chat_id)
    read = [message.content async for page in transcript.pages for message in page]
    assert read[2:] == [f"note {number}" for number in range(120)] and len(read) == 122
    for stranger in (world.new_caller(), world.new_caller(2)):
        with pytest.raises(ChatNotFound):
            await transcripts.open(stranger, chat_id)
    transcript = await transcripts.open(world.caller, chat_id)
    await world.conversations.delete(world.caller, chat_id)
    with pytest.raises(ChatNotFound):
        _ = [page async for page in transcript.pages]
