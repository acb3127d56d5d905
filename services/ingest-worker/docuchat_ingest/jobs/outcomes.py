"""What becomes of a job: the ways it can end, as data, and which of them an error leads to.

A failure is one of three: the document's own (it fails with a reason), somebody else's (it goes back to the queue, with
what was done kept), or a lost claim (deleted, or taken over: the work is dropped without a word).
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from docuchat_common.blobs import BlobCorrupt, BlobMissing, BlobTooLarge
from docuchat_common.errors import DocuChatError, QuotaExceeded, RateLimited, UpstreamUnavailable
from docuchat_ingest.pipeline.domain import Limits
from docuchat_ingest.pipeline.errors import EmbeddingUnavailable
from docuchat_ingest.reading.errors import ParserStarved, Unreadable
from docuchat_knowledge.jobs.domain import Completion
from docuchat_knowledge.jobs.errors import ClaimLost
from docuchat_models.errors import EmbeddingInvalid, ProviderRateLimited, ProviderRefused


class FailureCode(StrEnum):
    """Why a document failed; stable, part of the API."""

    EMPTY = "empty"
    NOT_A_PDF = "not_a_pdf"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    DAMAGED = "damaged"
    ENCRYPTED = "encrypted"
    NO_TEXT_LAYER = "no_text_layer"
    UNREADABLE_TEXT = "unreadable_text"
    TOO_MANY_PAGES = "too_many_pages"
    TOO_MUCH_TEXT = "too_much_text"
    TOO_LARGE = "too_large"
    PARSER_CRASHED = "parser_crashed"
    PARSER_TIMEOUT = "parser_timeout"
    PARSER_OUT_OF_MEMORY = "parser_out_of_memory"
    FILE_MISSING = "file_missing"
    FILE_CORRUPT = "file_corrupt"
    PROVIDER_REFUSED = "provider_refused"
    QUOTA_EXCEEDED = "quota_exceeded"
    QUOTA_BUSY = "quota_busy"
    EMBEDDING_INVALID = "embedding_invalid"
    EMBEDDING_UNAVAILABLE = "embedding_unavailable"
    INGEST_FAILED = "ingest_failed"


RETRYABLE = frozenset(
    {
        FailureCode.FILE_MISSING,
        FailureCode.FILE_CORRUPT,
        FailureCode.PROVIDER_REFUSED,
        FailureCode.QUOTA_EXCEEDED,
        FailureCode.EMBEDDING_INVALID,
        FailureCode.EMBEDDING_UNAVAILABLE,
        FailureCode.INGEST_FAILED,
    }
)
"""Reasons that are not the file's fault: the same file may succeed later."""

_DETAILS = {
    FailureCode.EMPTY: "The file is empty. Upload it again.",
    FailureCode.NOT_A_PDF: "The file is not a PDF, whatever its name says. Export it as PDF and upload that.",
    FailureCode.UNSUPPORTED_MEDIA_TYPE: "Files of this type cannot be read yet. Export it as PDF and upload that.",
    FailureCode.DAMAGED: (
        "The PDF is damaged and cannot be opened. Open it in a viewer, print it to PDF and upload that."
    ),
    FailureCode.ENCRYPTED: "The PDF is protected by a password. Save a copy without the password and upload that.",
    FailureCode.NO_TEXT_LAYER: (
        "The PDF holds no text, only pictures of pages. Run it through text recognition (OCR) and upload the result."
    ),
    FailureCode.UNREADABLE_TEXT: (
        "The text in the PDF is garbled: its fonts do not tell which letters they draw. Run it through text "
        "recognition (OCR), or export it again with its fonts embedded, and upload the result."
    ),
    FailureCode.TOO_MANY_PAGES: "The PDF has more than {max_pages} pages. Split it and upload the parts.",
    FailureCode.TOO_MUCH_TEXT: "The file holds more text than a document may have. Split it and upload the parts.",
    FailureCode.TOO_LARGE: "The file is larger than {max_megabytes} MB. Split it and upload the parts.",
    FailureCode.PARSER_CRASHED: (
        "The PDF reader crashed on this file. Open it in a viewer, print it to PDF and upload that."
    ),
    FailureCode.PARSER_TIMEOUT: "Reading the PDF took too long. Print it to PDF again, or split it, and upload that.",
    FailureCode.PARSER_OUT_OF_MEMORY: (
        "Reading the PDF took too much memory. Print it to PDF again, or split it, and upload that."
    ),
    FailureCode.FILE_MISSING: "The uploaded file is not in the store any more. Upload it again.",
    FailureCode.FILE_CORRUPT: "The file in the store is not what was uploaded. Upload it again.",
    FailureCode.PROVIDER_REFUSED: (
        "The embedding provider refused the text. Check EMBEDDING_MODEL, OPENAI_BASE_URL and the key, then retry."
    ),
    FailureCode.QUOTA_EXCEEDED: (
        "The quota of tokens or pages is used up. Retry after it resets or after deleting documents, or have it raised."
    ),
    FailureCode.QUOTA_BUSY: "What is left of the quota is set aside for work that goes on; it is tried again soon.",
    FailureCode.EMBEDDING_INVALID: "The embedding provider sent vectors that are no numbers, twice. Retry later.",
    FailureCode.EMBEDDING_UNAVAILABLE: "The embedding provider did not answer after {attempts} attempts. Retry later.",
    FailureCode.INGEST_FAILED: "The document could not be processed after {attempts} attempts. Retry later.",
}


def explain(code: FailureCode, limits: Limits) -> str:
    """What happened and what to do about it, for the owner of the document."""
    return _DETAILS[code].format(
        max_pages=limits.max_pages, max_megabytes=limits.max_bytes // 2**20, attempts=limits.max_attempts
    )


def is_retryable(code: FailureCode) -> bool:
    return code in RETRYABLE


_LONGEST_WAIT = timedelta(minutes=15)
"""No document waits longer for its next attempt, whatever was asked for."""
_DELAYS = tuple(timedelta(seconds=seconds) for seconds in (1, 5, 30, 120))


def delay_after(attempt: int) -> timedelta:
    """How long a document waits after its n-th failed attempt (n counts from 1)."""
    return _DELAYS[min(attempt, len(_DELAYS)) - 1]


@dataclass(frozen=True, slots=True)
class Ready:
    """The document can be searched."""

    completion: Completion


@dataclass(frozen=True, slots=True)
class Failed:
    """The document fails for a reason; `told` is what the other side said of it."""

    code: FailureCode
    told: str | None = None
    bury: bool = False
    """Whether a ticket of it is left in the dead-letter queue, because the reason is not in the document."""


@dataclass(frozen=True, slots=True)
class Postponed:
    """The document goes back to the queue, not before `delay`."""

    code: FailureCode
    delay: timedelta
    spends_attempt: bool


@dataclass(frozen=True, slots=True)
class Released:
    """The worker stops: the document is free for another one at once."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The document was deleted, or another worker took it over."""


Outcome = Ready | Failed | Postponed | Released | Lost


_FAILS: dict[type[DocuChatError], FailureCode] = {
    BlobMissing: FailureCode.FILE_MISSING,
    BlobCorrupt: FailureCode.FILE_CORRUPT,
    BlobTooLarge: FailureCode.TOO_LARGE,
    QuotaExceeded: FailureCode.QUOTA_EXCEEDED,
    EmbeddingInvalid: FailureCode.EMBEDDING_INVALID,
    ProviderRefused: FailureCode.PROVIDER_REFUSED,
}
_TOLD = frozenset({FailureCode.QUOTA_EXCEEDED, FailureCode.PROVIDER_REFUSED})
"""Reasons of which the other side can say more."""


def decide(error: Exception, attempt: int, limits: Limits) -> Outcome:  # noqa: PLR0911 - a decision table
    """What becomes of a document whose n-th attempt raised `error`."""
    attempts_left = attempt < limits.max_attempts

    def postponed(code: FailureCode, asked: timedelta | None = None, *, spends_attempt: bool) -> Postponed:
        wait = min(asked or timedelta(0), _LONGEST_WAIT)
        return Postponed(code, max(wait, delay_after(attempt)), spends_attempt)

    for kind, code in _FAILS.items():
        if isinstance(error, kind):
            return Failed(code, error.detail if code in _TOLD else None)
    match error:
        case ClaimLost():
            return Lost()
        case Unreadable():
            return Failed(FailureCode(error.code))
        case RateLimited() if not isinstance(error, ProviderRateLimited):
            return postponed(FailureCode.QUOTA_BUSY, error.retry_after, spends_attempt=False)
        case RateLimited():
            return postponed(FailureCode.EMBEDDING_UNAVAILABLE, error.retry_after, spends_attempt=False)
        case EmbeddingUnavailable() if attempts_left:
            return postponed(FailureCode.EMBEDDING_UNAVAILABLE, error.retry_after, spends_attempt=True)
        case EmbeddingUnavailable():
            return Failed(FailureCode.EMBEDDING_UNAVAILABLE, bury=True)
        case UpstreamUnavailable() | ParserStarved():
            return postponed(FailureCode.INGEST_FAILED, spends_attempt=False)
        case _ if attempts_left:
            return postponed(FailureCode.INGEST_FAILED, spends_attempt=True)
        case _:
            return Failed(FailureCode.INGEST_FAILED, bury=True)
