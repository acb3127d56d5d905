"""Small talk: what is answered without a document, and what never is."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.answers.setup import Setup
from docuchat_chat.answers.small_talk import remark_in, reply_to
from docuchat_chat.attachments.errors import AttachmentNotFound
from docuchat_chat.turns.domain import Branch, BranchKind
from docuchat_common.ids import MessageId, uuid7

SMALL_TALK = {
    ("greeting", "en"): ["hello", "Hi there!", "hello 👋", "Good morning", "Hi! How are you?", "Hello everyone"],
    ("greeting", "de"): ["Guten Morgen!", "Hallo zusammen", "Servus"],
    ("greeting", "fa"): ["سلام", "سلام، وقت بخیر", "سلام خسته نباشید", "صبح بخیر دوست عزیز"],
    ("greeting", "ar"): ["مرحبا", "السلام عليكم ورحمة الله", "كيف حالك؟"],
    ("greeting", "fr"): ["Bonjour !"],
    ("greeting", "es"): ["¡Hola!"],
    ("thanks", "en"): [
        "thanks",
        "thank you very much",
        "thanks, that helped",
        "OK, thanks!",
        "Hi, thanks for your help",
    ],
    ("thanks", "de"): ["danke", "Danke für deine Hilfe!", "Vielen Dank!"],
    ("thanks", "fa"): ["ممنون", "ممنون، خیلی خوب بود", "خیلی ممنون از کمکتون", "مرسی"],
    ("thanks", "ar"): ["شكرا", "شكراً جزيلاً"],
    ("thanks", "fr"): ["merci", "merci beaucoup"],
    ("farewell", "en"): ["bye", "Thanks, bye!", "See you later"],
    ("farewell", "fa"): ["خداحافظ", "ممنون، خدا حافظ"],
    ("farewell", "de"): ["Tschüss!", "Danke, auf Wiedersehen"],
    ("identity", "en"): ["who are you?", "Hello, what's your name?"],
    ("identity", "fa"): ["تو کی هستی؟", "سلام، اسمت چیه؟"],
    ("identity", "ar"): ["من أنت؟"],
    ("abilities", "en"): ["what can you do", "Hi, can you help me?"],
    ("abilities", "de"): ["Was kannst du eigentlich?"],
    ("abilities", "fa"): ["چه کار می‌توانی بکنی؟", "چه کار می توانی بکنی"],
}
QUESTIONS = [
    "hello, how many days of vacation do I have?",
    "thanks, and in 2023?",
    "Hello Kitty",
    "ok",
    "yes",
    "…",
    "what can you do about the noise?",
    "who are you insured with?",
    "سلام، گارانتی چقدر است؟",
    "شكرا، وماذا عن الضمان؟",
    "Danke, und wie lange?",
    "Thanksgiving",
    "bye-laws",
    "Good morning Vietnam",
    "Guten Tag, was kostet der Versand?",
    "hello " * 40,
]


@pytest.mark.parametrize(("kind", "language"), SMALL_TALK)
def test_what_is_nothing_but_small_talk_is_known_in_its_language(kind: str, language: str) -> None:
    for text in SMALL_TALK[kind, language]:
        remark = remark_in(text)
        assert remark is not None and (remark.kind, remark.language) == (kind, language), text
        assert reply_to(remark, Setup("m", 6))


def test_a_question_is_never_taken_for_small_talk() -> None:
    assert [text for text in QUESTIONS if remark_in(text) is not None] == []


def test_a_chatbot_answers_small_talk_with_its_greeting_its_name_and_its_language() -> None:
    setup = Setup("m", 6, name="Max {0}", greeting="Ahoy!", language="de")
    hello, who, thanks = (remark_in(text) for text in ("hello", "who are you?", "thanks"))
    assert hello is not None and who is not None and thanks is not None
    assert reply_to(hello, setup) == "Ahoy!" and reply_to(thanks, setup) == "Gern geschehen!"
    assert reply_to(who, setup).startswith("Ich bin Max {0}.")
    assert "DocuChat" in reply_to(who, Setup("m", 6))


async def test_small_talk_needs_no_document_and_no_provider_and_counts_as_a_message(bare_world: Any) -> None:
    world = bare_world  # a tenant without documents
    frames = await world.ask("سلام", session_id="s", key="k")
    said = [frame["token"] for frame in frames if frame["type"] == "delta"]
    assert said == ["سلام! درباره‌ی سندها چه می‌خواهید بدانید؟"]
    end = frames[-1]
    assert (end["type"], end["finish_reason"], end["citations"]) == ("end", "conversational", [])
    assert end["usage"]["total_tokens"] == 0
    assert (world.model.requests, world.embedder.asked, world.holds.opened) == ([], 0, [0])
    assert await world.usage() == [] and world.holds.released == []
    assert len(world.holds.settled) == 1, "it counts as a message"
    assert await world.ask("سلام", session_id="s", key="k") == frames
    again = await world.ask("", branch=Branch(BranchKind.REGENERATE, MessageId(UUID(frames[0]["message_id"]))))
    assert again[-1]["finish_reason"] == "conversational"
    (told, _) = await world.completed()
    assert told.finish_reason == "conversational"
    asked = await world.ask("What is the warranty?", session_id="s")
    assert asked[-1]["finish_reason"] == "no_sources", "a question still says that there is no document"


async def test_a_file_that_comes_with_a_greeting_is_asked_of(world: Any) -> None:
    with pytest.raises(AttachmentNotFound):
        await world.ask("hello", attachments=(uuid7(),))
