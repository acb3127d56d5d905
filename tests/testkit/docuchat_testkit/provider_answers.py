"""Deterministic answers, tokens and vectors of the stub provider."""

from __future__ import annotations

import base64
import codecs
import json
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import tiktoken

# Every word is one token with its leading space in cl100k and in o200k, so that a text of n of them has n tokens and
# each of its prefixes is canonical.
_FILLER = (
    " time", " year", " people", " way", " day", " man", " thing", " woman", " life", " child", " world", " school",
    " state", " family", " student", " group", " country", " problem", " hand", " part", " place", " case", " week",
    " company", " system", " program", " question", " work", " government", " number", " night", " point", " home",
    " water", " room", " mother", " area", " money", " story", " fact", " month", " lot", " right", " study", " book",
    " eye", " job", " word", " business", " issue", " side", " kind", " head", " house", " service", " friend",
    " father", " power", " hour", " game", " line", " end", " member", " law",
)  # fmt: skip
_BRACKETED = re.compile(
    r"^[ \t>#*-]*(?:source[ \t]*)?\[(\d{1,3})\][ \t:.-]*(.*?)(?=^[ \t>#*-]*(?:source[ \t]*)?\[\d{1,3}\]|^</|\Z)",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_TAGGED = re.compile(
    r"<(?:source|document|chunk|passage)\b[^>]*?\b(?:id|n|number|index)=[\"']?(\d{1,3})[\"']?[^>]*>"
    r"(.*?)</(?:source|document|chunk|passage)>",
    re.DOTALL | re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_SENTENCE = re.compile(r"(?<=[.!?؟。])\s+|\n+")
_HEADING = re.compile(r"\A\([^\n]*\)[ \t]*\n")
_LABEL = re.compile(r"^[ \t]*question[ \t]*:\s*(.+)\Z", re.IGNORECASE | re.DOTALL | re.MULTILINE)
_COMMON = frozenset({"the", "and", "for", "how", "what", "who", "when", "where", "why", "are", "was", "does", "did"})
_MARKER = re.compile(r"\[\d{1,3}\]|[\[\]<>]")


@lru_cache(maxsize=8)
def _encoding(name: str) -> tiktoken.Encoding:
    return tiktoken.get_encoding(name)


@lru_cache(maxsize=256)
def encoding_for(model: str, *, embedding: bool = False) -> tiktoken.Encoding:
    """The model's vocabulary; cl100k for unknown embedding models, o200k for any other unknown model."""
    try:
        return _encoding(tiktoken.encoding_name_for_model(model))
    except KeyError:
        return _encoding("cl100k_base" if embedding or model.startswith("text-embedding") else "o200k_base")


def count_tokens(text: str, encoding: tiktoken.Encoding) -> int:
    return len(encoding.encode_ordinary(text))


def content_text(content: Any) -> str:
    """The text of a message's content, which is a string or a list of typed parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content if isinstance(part, dict))
    return ""


def count_prompt_tokens(messages: Sequence[Mapping[str, Any]], encoding: tiktoken.Encoding) -> int:
    """OpenAI's published rule: 3 a message, its role and content (and name + 1), 3 to prime the answer.

    https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken
    """
    total = 3
    for message in messages:
        total += 3 + count_tokens(str(message.get("role", "")), encoding)
        total += count_tokens(content_text(message.get("content")), encoding)
        if message.get("name"):
            total += 1 + count_tokens(str(message["name"]), encoding)
    return total


@dataclass(frozen=True, slots=True)
class Answer:
    """A text cut into the pieces that a stream sends: one token each, or several where a character spans tokens."""

    text: str
    tokens: int
    pieces: Sequence[str]
    fragments: Sequence[bytes]
    finish_reason: str


@lru_cache(maxsize=200_000)
def _json_fragment(piece: str) -> bytes:
    return json.dumps(piece, ensure_ascii=False).encode()


def _cut_into_pieces(tokens: Sequence[int], encoding: tiktoken.Encoding) -> list[str]:
    # As real providers do: bytes of an unfinished character wait for the token that completes it.
    decoder = codecs.getincrementaldecoder("utf-8")()
    pieces = (decoder.decode(encoding.decode_single_token_bytes(token)) for token in tokens)
    return [piece for piece in pieces if piece]


@lru_cache(maxsize=64)
def filler(tokens: int) -> Answer:
    """A text of exactly so many tokens, in every vocabulary in use."""
    pieces = tuple(_FILLER[(i * 7 + i // len(_FILLER)) % len(_FILLER)] for i in range(tokens))
    return Answer("".join(pieces), tokens, pieces, tuple(map(_json_fragment, pieces)), "stop")


def compose(text: str, encoding: tiktoken.Encoding, max_tokens: int | None) -> Answer:
    """The text as an answer, shortened to `max_tokens`; `tokens` is what re-encoding the answer gives."""
    tokens = encoding.encode_ordinary(text)
    finish_reason = "stop"
    if max_tokens is not None and len(tokens) > max_tokens:
        tokens, finish_reason = tokens[:max_tokens], "length"
    pieces = _cut_into_pieces(tokens, encoding)
    answer = "".join(pieces)
    count = len(tokens) if finish_reason == "stop" else count_tokens(answer, encoding)
    return Answer(answer, count, pieces, [_json_fragment(piece) for piece in pieces], finish_reason)


def shorten(answer: Answer, max_tokens: int | None) -> Answer:
    """A filler answer held to `max_tokens`."""
    if max_tokens is None or answer.tokens <= max_tokens:
        return answer
    short = filler(max_tokens)
    return Answer(short.text, short.tokens, short.pieces, short.fragments, "length")


def _words(text: str) -> list[str]:
    return _WORD.findall(_fold(text))


def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKC", text).casefold()
    return folded.translate({0x64A: 0x6CC, 0x643: 0x6A9, 0x200C: None, 0x200D: None, 0x640: None})


def _numbered_sources(messages: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    best: dict[int, str] = {}
    for message in messages:
        content = content_text(message.get("content"))
        found = _TAGGED.findall(content) or _BRACKETED.findall(content)
        if len(found) > len(best):
            best = {int(number): _HEADING.sub("", text.strip()) for number, text in found}
    return best


def last_user_message(messages: Sequence[Mapping[str, Any]]) -> str:
    for message in reversed(messages):
        if message.get("role") == "user":
            return content_text(message.get("content"))
    return ""


def _question(messages: Sequence[Mapping[str, Any]]) -> str:
    text = last_user_message(messages)
    if labelled := _LABEL.search(text):
        text = labelled.group(1)
    elif len(text) > 400:
        # The question sits in one message with the sources: it is the last line.
        text = text.rstrip().rsplit("\n", 1)[-1]
    return text.strip()


def answer_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """What the stub says: the best sentence of up to three numbered sources, each cited, else an echo."""
    question = _question(messages)
    asked = {word for word in _words(question) if len(word) > 2} - _COMMON
    sources = _numbered_sources(messages)
    if not sources:
        return f"I was given no sources. The question was: {question[:300]}"
    scored: list[tuple[int, int, str]] = []
    for number, text in sources.items():
        sentences = [s.strip() for s in _SENTENCE.split(text) if len(s.strip()) > 20] or [text[:300]]
        overlaps = [len(asked.intersection(_words(sentence))) for sentence in sentences]
        top = max(range(len(sentences)), key=lambda i: (overlaps[i], -i))
        scored.append((-overlaps[top], number, " ".join(_MARKER.sub(" ", sentences[top]).split()[:40])))
    scored.sort()
    chosen = [entry for entry in scored[:3] if entry[0] < 0] or scored[:1]
    return " ".join(f"{sentence} [{number}]" for _, number, sentence in chosen)


@lru_cache(maxsize=500_000)
def _bucket(word: str) -> int:
    return zlib.crc32(word.encode())


def embed(text: str, dimension: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A unit vector of hashed words; the cosine of two texts grows with the words they share."""
    vector = np.zeros(dimension, dtype=np.float32)
    for word, occurrences in Counter(_words(text)).items():
        hashed = _bucket(word)
        weight = (1.0 + np.log(occurrences)) * (1.0 if len(word) > 3 else 0.3)
        vector[(hashed >> 1) % dimension] += weight if hashed & 1 else -weight
    norm = float(np.linalg.norm(vector))
    if norm == 0.0:
        vector[0] = norm = 1.0
    return (vector / norm).astype(np.float32)


def as_base64(vector: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
