"""The setup of an answer: what decides, besides question and documents, what is said."""

from __future__ import annotations

from dataclasses import dataclass, field

from docuchat_chat.answers.text import Language, language_of
from docuchat_common.ids import ChatbotId, CollectionId


@dataclass(frozen=True, slots=True)
class AnswerPolicy:
    """What an answer may rest on, and what it keeps silent about; without anything said, the documents alone."""

    own_knowledge: bool = False
    """Whether the model may say what stands in no document; such parts are marked."""
    citations_required: bool = False
    """Whether an answer that cites nothing is replaced by what is said when nothing was found."""
    refused_subjects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    """What answers a question: read once, when it is asked, and never changed while it is answered."""

    model: str
    top_k: int
    fallback_model: str | None = None
    """Answers when the provider of the first is down; None where no other does."""
    temperature: float | None = None
    """None leaves it to the provider."""
    instructions: str = ""
    """The tenant's own, which stand after the product's and below them."""
    wishes: str = ""
    """Those of whoever asks, which stand below both."""
    max_output_tokens: int | None = None
    """Of the answer; None writes as many as the product allows."""
    policy: AnswerPolicy = field(default_factory=AnswerPolicy)
    language: Language | None = None
    """Always answered in; None answers in the language of the question."""
    nothing_found: str | None = None
    """Said when there is nothing to answer from; None says so in words of the product."""
    collections: tuple[CollectionId, ...] | None = None
    """All that is read for the answer, whoever asks; None reads what the caller may read."""
    name: str = ""
    """What it calls itself; empty is the product's name."""
    greeting: str = ""
    """Said to who greets it; empty greets in words of the product."""
    chatbot_id: ChatbotId | None = None
    chatbot_version: int | None = None
    """The published version of the chatbot, from 1; 0 is its draft."""


def language_for(setup: Setup, question: str) -> Language:
    """Return the language in which a question is answered, of those that the product speaks itself."""
    return setup.language or language_of(question)
