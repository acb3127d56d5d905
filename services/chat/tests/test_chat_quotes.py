"""The extractive answer: which sentences are quoted, and when it says that the documents do not tell."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from docuchat_chat.answers.domain import Passage, Source
from docuchat_chat.answers.extractive import candidates, is_answerable, rank
from docuchat_chat.answers.extractive_model import ExtractiveModel
from docuchat_chat.answers.ports import AnswerRequest
from docuchat_chat.answers.questions import asks_about_document, understand
from docuchat_chat.answers.sentences import is_sentence, sentences
from docuchat_common.ids import ChunkId, DocumentId, TenantId
from docuchat_models.wordllama import WordLlamaEmbedder

HANDBOOK = (
    "Leave\nEvery employee has 30 days of paid leave a year. A request is made in the calendar at least two weeks\n"
    "before the first day; the team lead answers within three working days.\nPay\nSalaries are paid on the 25th of each"
    " month. When that day is a Sunday, they are paid on the day before.\n"
)


def source(number: int, text: str, score: float = 1.5) -> Source:
    passage = Passage(ChunkId(uuid4()), DocumentId(uuid4()), "Handbook", "handbook.pdf", 1, 1, text, score)
    return Source(number, passage)


def answer(question: str, *sources: Source) -> str:
    async def collect() -> str:
        request = AnswerRequest("extractive", (), sources, question, 1_000, TenantId(1))
        return "".join([piece.text async for piece in ExtractiveModel(WordLlamaEmbedder()).answer(request)])

    return asyncio.run(collect())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Prof. Dr. Herrlich spoke. He left.", ["Prof. Dr. Herrlich spoke.", "He left."]),
        ("Gehälter werden am 25. jedes Monats gezahlt. Gut.", ["Gehälter werden am 25. jedes Monats gezahlt.", "Gut."]),
        ("Er gilt bis zum 31. März 2027. Danach nicht.", ["Er gilt bis zum 31. März 2027.", "Danach nicht."]),
        ("See sect. 3.14 of v2.0, e.g. this one. Yes!", ["See sect. 3.14 of v2.0, e.g. this one.", "Yes!"]),
        ("It ended in 1999. Nobody knew.", ["It ended in 1999.", "Nobody knew."]),
        ("این یک جمله است. آیا این هم؟ بله.", ["این یک جمله است.", "آیا این هم؟", "بله."]),
        ("今日は。明日も。", ["今日は。", "明日も。"]),
    ],
)
def test_abbreviations_and_ordinals_end_no_sentence(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


def test_headings_and_list_items_stand_alone() -> None:
    found = sentences(HANDBOOK + "• The first item of a list\n• The second one")
    assert "Leave" in found and "Pay" in found and "• The first item of a list" in found
    assert any(piece.startswith("A request is made") and piece.endswith("working days.") for piece in found)


@pytest.mark.parametrize("text", ["Pay", "1.2 Metric spaces . . . . . 8", "−4 −2 2 4 6 8", "r = x + y − 2"])
def test_headings_contents_and_axis_labels_are_not_quoted(text: str) -> None:
    assert not is_sentence(text)


def test_the_examples_questions_are_answered() -> None:
    for question, fact in (
        ("How many days of paid leave does every employee have?", "30 days"),
        ("When are salaries paid?", "25th"),
    ):
        said = answer(question, source(1, HANDBOOK))
        assert fact in said and "[1]" in said and "“Leave" not in said and "“Pay" not in said


@pytest.mark.parametrize(
    ("question", "refusal"),
    [
        ("What is the capital of Australia?", "do not say"),
        ("Wie hoch ist der Mount Everest?", "sagen dazu nichts"),
        ("پایتخت استرالیا کجاست؟", "چیزی نمی‌گویند"),
        ("How high is the salary of Miranda Okafor?", "do not say"),
    ],
)
def test_a_question_whose_subject_is_named_nowhere_is_refused_in_its_language(question: str, refusal: str) -> None:
    said = answer(question, source(1, HANDBOOK, 0.7), source(2, "Lifts are not used in case of fire.", 0.3))
    assert refusal in said and "[1]" not in said


def test_a_question_fully_named_is_answered_although_search_scored_low() -> None:
    assert is_answerable("How long must passwords be?", [source(1, "Passwords have at least 14 characters.", 0.3)])


def test_at_most_three_quotes_and_none_twice() -> None:
    text = "".join(f"The motor number {n} is blue and strong. " for n in range(9)) + "The motor is blue. " * 3
    said = answer("Which motor is blue?", source(1, text), source(2, text))
    assert 1 <= said.count("“") <= 3
    quotes = [line for line in said.splitlines() if line.startswith("“")]
    assert len(quotes) == len(set(quotes))


def test_the_better_passage_is_quoted_first() -> None:
    better, worse = "The warranty of the engine is two years.", "The warranty of the wheel is one year."
    found = candidates([source(1, worse, 0.4), source(2, better, 2.0)])
    assert rank("warranty years", found, [0.2, 0.2])[0].number == 2


@pytest.mark.parametrize(
    "question",
    ["What is this document about?", "Summarise the report.", "Worum geht es in diesem Text?", "این سند دربارهٔ چیست؟"],
)
def test_questions_about_the_document_itself_are_known(question: str) -> None:
    assert asks_about_document(question)
    assert not asks_about_document("What is the report on salaries about?")


def test_what_kind_of_answer_is_expected() -> None:
    asked = {"Who wrote it?": "person", "Wann begann es?": "time", "چند روز است؟": "number"}
    asked |= {"What is a metric?": "definition"}
    assert {question: understand(question).expected for question in asked} == asked
