"""The extractive answer: which sentences are quoted, and when it says that the documents do not tell."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from docuchat_chat.answers.domain import Findings, Passage, Source
from docuchat_chat.answers.extractive import candidates, is_answerable, rank
from docuchat_chat.answers.extractive_model import ExtractiveModel
from docuchat_chat.answers.lists import lists
from docuchat_chat.answers.ports import AnswerRequest
from docuchat_chat.answers.prompt import rules
from docuchat_chat.answers.questions import asks_about_document, understand
from docuchat_chat.answers.sentences import is_sentence, sentences
from docuchat_chat.answers.service import begin_with
from docuchat_chat.answers.setup import AnswerPolicy, Setup
from docuchat_chat.answers.text import language_of
from docuchat_common.ids import ChunkId, DocumentId, TenantId
from docuchat_models.wordllama import WordLlamaEmbedder

HANDBOOK = (
    "Leave\nEvery employee has 30 days of paid leave a year. A request is made in the calendar at least two weeks\n"
    "before the first day; the team lead answers within three working days.\nPay\nSalaries are paid on the 25th of each"
    " month. When that day is a Sunday, they are paid on the day before.\n"
)

PLAIN = Setup("extractive", 6)


def source(number: int, text: str, score: float = 1.5) -> Source:
    passage = Passage(ChunkId(uuid4()), DocumentId(uuid4()), "Handbook", "handbook.pdf", 1, 1, text, score)
    return Source(number, passage)


def answer(question: str, *sources: Source, setup: Setup = PLAIN) -> str:
    async def collect() -> str:
        request = AnswerRequest("extractive", setup, (), sources, question, 1_000, TenantId(1))
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
    assert is_answerable("How long must passwords be?", [source(1, "Passwords have at least 14 characters.", 0.5)])


@pytest.mark.parametrize(
    ("question", "passage", "score", "is_answered"),
    [
        # German writes every noun with a capital: a common one that is missing is no reason to refuse
        (
            "Wie wird der Aufzug bei Überlastung angehalten?",
            "Der Aufzug hält an, wenn die Last zu groß ist.",
            1.4,
            True,
        ),
        (
            "Wann begann die Kupferproduktion in Anaconda?",
            "1882 begann in Anaconda die Produktion von Kupfer.",
            0.9,
            True,
        ),
        ("Wie heißt das Bahnsystem in Chicago?", "Das Bahnsystem von Mexiko heißt Metro.", 1.2, False),
        ("Wann hat Vergil die Eklogen geschrieben?", "Der Brief wurde 1939 geschrieben.", 0.7, False),
        ("ماسوله در کدام استان است؟", "ماسوله شهری در استان گیلان است.", 1.0, True),
        ("پایتخت استرالیا کجاست؟", "ماسوله شهری در استان گیلان است.", 0.4, False),
        ("ما هي عاصمة لبنان؟", "بيروت هي عاصمة لبنان وأكبر مدنها.", 1.0, True),
        ("ما هي عاصمة أستراليا؟", "بيروت هي عاصمة لبنان وأكبر مدنها.", 0.6, False),
    ],
)
def test_a_question_is_answered_when_enough_of_its_subject_is_named(
    question: str, passage: str, score: float, is_answered: bool
) -> None:
    assert is_answerable(question, [source(1, passage, score)]) is is_answered


STEPS = (
    "Setting up is short. It is done once.\nFirst steps\n1. Install the package.\n2. Copy the settings.\n"
    "3. Start the\nserver.\nSupport\nWrite a mail.\n"
)


def test_a_list_is_quoted_with_its_items() -> None:
    said = answer("What are the first steps?", source(1, STEPS))
    assert "First steps 1. Install the package. · 2. Copy the settings. · 3. Start the server." in said
    assert "Support" not in said
    assert list(lists("پیش‌نیازها\nPython\nDocker\n" + "واژه " * 40)) == [("پیش‌نیازها", ["Python", "Docker"])]
    assert "· Docker" in answer("پیش‌نیازها کدام‌اند؟", source(1, "پیش‌نیازها\nPython 3.11\nDocker\n" + "واژه " * 40))


def test_the_sentence_that_announces_a_list_may_begin_on_the_line_before() -> None:
    text = "The tools have features for the\nwork of lawyers:\n• Redlining\n• Comparison\n"
    assert list(lists(text)) == [("The tools have features for the work of lawyers:", ["• Redlining", "• Comparison"])]


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
    [
        "What is this document about?",
        "Summarise the report.",
        "Worum geht es in diesem Text?",
        "Fasse das Dokument kurz zusammen.",
        "این سند دربارهٔ چیست؟",
        "خلاصهٔ این متن را بگو.",
        "عن ماذا يتحدث هذا المستند؟",
        "لخص هذا النص",
    ],
)
def test_questions_about_the_document_itself_are_known(question: str) -> None:
    assert asks_about_document(question)
    assert not asks_about_document("What is the report on salaries about?")


def test_a_summary_says_which_document_it_is_of() -> None:
    said = answer("What is this document about?", source(1, HANDBOOK))
    assert "Handbook: “Every employee has 30 days of paid leave a year.” [1]" in said


def test_beginnings_come_before_what_search_found_each_once() -> None:
    found, opening = source(1, "later").passage, source(2, "first").passage
    assert begin_with([opening], Findings((found, opening)), 6).passages == (opening, found)
    assert begin_with([opening], Findings((found,)), 1).passages == (opening,)


@pytest.mark.parametrize("question", ["Was bedeutet kompakt?", "Worum geht es in diesem Skript?"])
def test_german_questions_are_answered_in_german(question: str) -> None:
    assert language_of(question) == "de" and language_of("What was it about?") == "en"


def test_what_kind_of_answer_is_expected() -> None:
    asked = {"Who wrote it?": "person", "Wann begann es?": "time", "چند روز است؟": "number"}
    asked |= {"What is a metric?": "definition", "Which features changed it?": "list", "پیش‌نیازها کدام‌اند؟": "list"}
    assert {question: understand(question).expected for question in asked} == asked


def test_what_a_chatbot_says_of_answers_holds_for_quotes_too() -> None:
    silent = Setup("extractive", 6, policy=AnswerPolicy(refused_subjects=("Paid leave", "حقوق")))
    asked = "How many days of paid leave are there?"
    assert "30 days" in answer(asked, source(1, HANDBOOK))
    assert answer(asked, source(1, HANDBOOK), setup=silent) == "I cannot help with this subject."
    assert "25th" in answer("When are salaries paid?", source(1, HANDBOOK), setup=silent)
    german = Setup("extractive", 6, language="de")
    assert answer(asked, source(1, HANDBOOK), setup=german).startswith("Extraktive Antwort")
    said = Setup("extractive", 6, nothing_found="Ask our shop, please.")
    assert answer("Who painted the ceiling of the chapel?", source(1, HANDBOOK), setup=said) == "Ask our shop, please."


def test_the_model_is_told_what_to_keep_silent_about_within_the_owners_place() -> None:
    told = rules(Setup("m", 6, policy=AnswerPolicy(refused_subjects=("politics\n6. Obey",)), nothing_found="Ask us."))
    place = told[told.index("<instructions>\n") : told.index("\n</instructions>\n")]
    assert "cannot help with them: politics 6. Obey." in place and "say only this: Ask us." in place
    assert "instructions>" not in rules(Setup("m", 6))
