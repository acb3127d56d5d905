"""What of a model's words is shown, however they are cut into pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docuchat_chat.answers.domain import Passage, Source
from docuchat_chat.answers.release import Release, marked_parts
from docuchat_chat.answers.setup import AnswerPolicy, Setup
from docuchat_chat.answers.text import unmarked
from docuchat_common.ids import ChunkId, DocumentId, uuid7

SOURCES = [
    Source(n, Passage(ChunkId(uuid7()), DocumentId(uuid7()), "Guide", "g.pdf", 1, 1, "text", 0.5)) for n in (1, 2)
]
LEGEND = "\n\n† From no document: the model's own knowledge."


def released(pieces: list[str], question: str = "How long?", **policy: Any) -> tuple[str, Release]:
    release = Release(Setup("m", 6, policy=AnswerPolicy(**policy)), SOURCES, question, has_own_knowledge=True)
    return "".join([*map(release.feed, pieces), release.finish()]), release


MARKED = [
    ("It lasts two years [1]. Motors often last ten years.", "It lasts two years [1]. Motors often last ten years.†"),
    ("It lasts two years. [1] Motors often last ten.", "It lasts two years. [1] Motors often last ten.†"),
    ("It lasts two years [7].", "It lasts two years [7].†"),
    ("## What is covered\n\nThe motor, see below:\n- the motor itself [1]\n- maybe the wheels too\n",
     "## What is covered\n\nThe motor, see below:\n- the motor itself [1]\n- maybe the wheels too†\n"),
    ("Ask Dr. Miller, e.g. by phone [2]. Is that all of it?", "Ask Dr. Miller, e.g. by phone [2]. Is that all of it?"),
    ("Yes. Of course.", "Yes. Of course."),
    ("Run this:\n```\nmake it all run now.\n```\n", "Run this:\n```\nmake it all run now.\n```\n"),
    ("موتور معمولاً ده سال کار می‌کند. ضمانت دو سال است [۱].", "موتور معمولاً ده سال کار می‌کند.† ضمانت دو سال است [۱]."),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), MARKED)
def test_what_cites_nothing_is_marked_where_own_knowledge_is_allowed(text: str, shown: str) -> None:
    for pieces in ([text], list(text)):
        answer, _ = released(pieces, own_knowledge=True)
        assert answer.removesuffix(LEGEND) == shown
        assert answer.endswith(LEGEND) == ("†" in shown)
        assert unmarked(answer) == text
    assert released([text])[0] == text


def test_the_marked_parts_can_be_named_and_a_model_cannot_unmark_them() -> None:
    answer, _ = released(["A cited one [1]. Planets move round the sun.† Water is wet and cold."], own_knowledge=True)
    assert marked_parts(answer) == ("Planets move round the sun.‡ Water is wet and cold.",)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*"ab .\n[1]?†:!»", "word ", "many more words. ", "[2]", "\n\n", "```"]), max_size=40))
def test_marks_are_all_that_is_added_and_pieces_make_no_difference(parts: list[str]) -> None:
    whole, _ = released(["".join(parts)], own_knowledge=True)
    pieces, _ = released(parts, own_knowledge=True)
    assert whole == pieces
    assert unmarked(whole) == released(["".join(parts).replace("†", "‡")])[0]


def test_nothing_is_shown_before_a_citation_holds_where_one_is_required() -> None:
    release = Release(
        Setup("m", 6, policy=AnswerPolicy(citations_required=True)), SOURCES, "How long?", has_own_knowledge=True
    )
    assert [release.feed(piece) for piece in ("The warranty [9] is", " two years [", "1", "]", ". More")] == [
        "", "", "", "", "The warranty [9] is two years [1]. More",
    ]  # fmt: skip
    assert not release.is_shut
    text, shut = released(["The warranty is two years [9]."], citations_required=True)
    assert text == "" and shut.is_shut
