"""Turns: a question and its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

import orjson

from docuchat_chat.answers.domain import Citation, PastMessage, Source
from docuchat_chat.chatbots.domain import Which
from docuchat_chat.conversations.domain import MessageStatus
from docuchat_common.contracts.frames import FinishReason
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import fingerprint_of
from docuchat_common.ids import ChatbotId, ChatId, CollectionId, DocumentId, HoldId, MessageId, TenantId, TurnId
from docuchat_common.metering import Used

Reason = FinishReason | Literal["error"]
"""Why a turn ended; `error` for those that their error says more of."""


class TurnState(StrEnum):
    """Where a turn stands; every state but `running` is final."""

    RUNNING = "running"
    COMPLETED = "completed"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


MESSAGE_STATUS = {
    TurnState.COMPLETED: MessageStatus.COMPLETE,
    TurnState.STOPPED: MessageStatus.STOPPED,
    TurnState.INTERRUPTED: MessageStatus.INTERRUPTED,
    TurnState.FAILED: MessageStatus.FAILED,
}


class BranchKind(StrEnum):
    """What is done with a message."""

    FOLLOW = "follow"
    EDIT = "edit"
    REGENERATE = "regenerate"


@dataclass(frozen=True, slots=True)
class Branch:
    """Where a question or an answer is to go: after a message, or beside it."""

    kind: BranchKind
    message_id: MessageId


@dataclass(frozen=True, slots=True)
class Question:
    """A question; `model` empty asks the setup's, `tokens` and `asked` are set when it has been checked."""

    text: str
    model: str = ""
    session_id: str | None = None
    chat_id: ChatId | None = None
    document_ids: tuple[DocumentId, ...] | None = None
    collection_id: CollectionId | None = None
    attachments: tuple[DocumentId, ...] = ()
    """Own files that it is asked of as well."""
    branch: Branch | None = None
    """None goes on where the chat ends that is shown; of an answer that is given again the text is found there."""
    chatbot_id: ChatbotId | None = None
    version: Which | None = None
    """Of the chatbot, for who tries it out; None asks what is live."""
    history: tuple[PastMessage, ...] | None = None
    """What was said before it, where whoever asks says so; None takes what its chat has."""
    wishes: str = ""
    """How whoever asks wants it answered, as far as the rules and the chatbot's own instructions agree."""
    temperature: float | None = None
    """None leaves it to the setup."""
    max_output_tokens: int | None = None
    """The longest answer that is wanted; None, and what is more, is the longest that is written."""
    is_kept: bool = True
    """Whether its chat is: one that is not is shown nowhere, and goes once the answer is booked."""
    given: Mapping[str, Any] | None = None
    """What of the request is told again with its answer, in protocols that do so; kept with the turn."""
    tokens: int = 0
    asked: str = ""
    """`text` as it stands in the prompt; stored and shown is what the user typed."""

    @property
    def may_follow(self) -> bool:
        """Whether something may have been said before it."""
        if self.history is not None:
            return bool(self.history)
        return self.chat_id is not None or self.session_id is not None

    def fingerprint(self) -> bytes:
        """Return a hash by which two equal requests are told from others."""
        asked: list[object] = [
            self.text,
            self.session_id,
            self.chat_id,
            self.model,
            self.document_ids,
            self.collection_id,
        ]
        if self.branch is not None:  # what stands for other questions is as it was in the version before
            asked += [self.branch.kind, self.branch.message_id]
        if self.chatbot_id is not None:
            asked += [self.chatbot_id, self.version]
        if self.attachments:
            asked += ["attachments", *self.attachments]
        given = [self.history, self.wishes, self.temperature, self.max_output_tokens, self.is_kept]
        if given != [None, "", None, None, True]:
            asked += ["given", *given]
        if self.given is not None:
            asked += ["told", self.given]
        return fingerprint_of(orjson.dumps(asked))


@dataclass(frozen=True, slots=True)
class Fallback:
    """Why a second model answers."""

    model: str
    """The one that was to be asked."""
    reason: str
    hold_id: HoldId | None = None
    """The first call's hold, which still has the message."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer, from before the provider is called until it is settled."""

    id: TurnId
    caller: Caller
    chat_id: ChatId
    session_id: str
    user_message_id: MessageId
    message_id: MessageId
    model: str
    """As it is shown."""
    provider: str
    provider_model: str
    """As the provider knows it, and as it is booked."""
    hold_id: HoldId | None
    prompt_tokens: int
    owner: str
    """The number of the process that answers."""
    created_at: datetime
    sources: tuple[Source, ...] = ()
    notice: str | None = None
    chatbot_id: ChatbotId | None = None
    chatbot_version: int | None = None
    """As of the setup."""
    searched_as: str | None = None
    """What was searched for the question; None when that was the question itself."""
    fallback: Fallback | None = None
    """Set where `model` answers in place of another."""
    wants_title: bool = False
    """Whether its chat has no title but the beginning of a question."""
    given: Mapping[str, Any] | None = None
    """As of the question."""
    has_key: bool = False
    """Whether it is known to be asked for with a key, which then stands for it however it ended."""
    state: TurnState = TurnState.RUNNING
    usage: Used | None = None
    finish_reason: Reason | None = None
    frame_lengths: tuple[int, ...] = ()
    error_code: str | None = None
    error_message: str | None = None
    retry_after_seconds: int | None = None
    finished_at: datetime | None = None

    @property
    def tenant_id(self) -> TenantId:
        """The tenant of the caller."""
        return self.caller.tenant_id

    @property
    def asked_model(self) -> str:
        """The model that was to be asked, as it was told when the turn began."""
        return self.model if self.fallback is None else self.fallback.model

    @property
    def hold_ids(self) -> tuple[HoldId, ...]:
        """All holds of the turn."""
        both = self.hold_id, self.fallback.hold_id if self.fallback is not None else None
        return tuple(hold_id for hold_id in both if hold_id is not None)

    @property
    def message_hold_id(self) -> HoldId | None:
        """The hold that has the message, of several."""
        return self.fallback.hold_id if self.fallback is not None else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a turn ended and what is to be kept and booked of it."""

    state: TurnState
    text: str
    frame_lengths: tuple[int, ...]
    finish_reason: Reason
    usage: Used | None
    """None when nothing is to be booked: no request ever left, or the provider refused it."""
    finished_at: datetime
    citations: tuple[Citation, ...] = ()
    not_cited: tuple[int, ...] = ()
    own_knowledge: tuple[str, ...] = ()
    """The sentences that rest on no document, where such are allowed."""
    error_code: str | None = None
    error_message: str | None = None
    retry_after_seconds: int | None = None
    text_tokens: int | None = None
    tokenizer: str | None = None


def fallback_fields(fallback: Fallback) -> dict[str, str]:
    """Return what is told of a fallback."""
    return {"from": fallback.model, "reason": fallback.reason}


def metadata_of(turn: Turn, outcome: Outcome) -> dict[str, Any]:
    """Return what is told of an answer beside its text and its books."""
    metadata: dict[str, Any] = {"finish_reason": outcome.finish_reason, "not_cited": list(outcome.not_cited)}
    if outcome.own_knowledge:
        metadata["own_knowledge"] = list(outcome.own_knowledge)
    if turn.fallback is not None:
        metadata["fallback"] = fallback_fields(turn.fallback)
    if turn.searched_as is not None:
        metadata["searched_as"] = turn.searched_as
    if turn.chatbot_id is not None:
        metadata |= {"chatbot_id": str(turn.chatbot_id), "chatbot_version": turn.chatbot_version}
    return metadata


class Settlement(StrEnum):
    """What became of the attempt to settle a turn."""

    DONE = "done"
    DONE_BEFORE = "done before"
    CHAT_GONE = "chat gone"
    """The tokens are booked; the chat was deleted meanwhile, so nothing of the turn is kept."""


@dataclass(frozen=True, slots=True)
class OrphanedTurn:
    """A running turn whose process is gone."""

    tenant_id: TenantId
    turn_id: TurnId
    owner: str


@dataclass(slots=True)
class Received:
    """What is known of a turn whose process died."""

    pieces: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    """What the model wrote before its answer: not shown, and billed."""
    kept_back: list[str] = field(default_factory=list)
    """What the model wrote of an answer that was not shown, for want of citations: billed too."""
    sent: bool = False
    """Whether the request may have reached the provider."""
    second: Received | None = None
    """What is known of the second model's call, once the turn has moved on to it."""
