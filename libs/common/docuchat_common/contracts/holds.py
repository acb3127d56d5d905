"""Holds on quotas: what a service asks of the usage service before it spends, and what it is answered.

`POST /internal/holds`, `PATCH` and `DELETE /internal/holds/{id}`, `POST /internal/holds/{id}/settle`, all with
`X-Internal-Token`. A lease is in seconds.
A refusal is a 429: `quota_exceeded` when the amount is spent (Retry-After until the reset), `quota_busy` when only
other holds stand in the way (a short Retry-After), `demo_limit_reached` when what has no room are the messages of a
chatbot's visitors. It names `layer`, `subject_id`, `unit`, `limit`, `used`, `held` and `remaining`.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from docuchat_common.errors import QuotaExceeded, RateLimited

LONGEST_LEASE: Final = timedelta(hours=1)
MOST_TOKENS: Final = 100_000_000
MOST_BYTES: Final = 1 << 50


class BudgetBusy(RateLimited):
    """Requests that are running hold what is left of the budget; try again when they are done."""

    code = "quota_busy"


class DemoLimitReached(QuotaExceeded):
    """The messages that visitors of this chatbot may send are used up; come back when they are reset."""

    code = "demo_limit_reached"


HOLD_REFUSED: Final = (QuotaExceeded, BudgetBusy)
"""What whoever asks for a hold may be told."""


class HoldKind(StrEnum):
    """What the amounts are for."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    UPLOAD = "upload"


class HoldUnit(StrEnum):
    """What can be held. Tokens are also held in money, by the price of the provider's model."""

    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    DOCUMENTS = "documents"
    PAGES = "pages"
    BYTES = "bytes"
    MESSAGES = "messages"
    REQUESTS = "requests"


class SubjectType(StrEnum):
    """Who may have a budget below the tenant's."""

    USER = "user"
    CHATBOT = "chatbot"
    KEY = "key"
    VISITOR = "visitor"
    ADDRESS = "address"
    """Where visitors of a chatbot come from; the id is a keyed hash of both."""
    VISITORS = "visitors"
    """All visitors of a chatbot together; the id is the chatbot's."""


class LimitUnit(StrEnum):
    """What a stated limit counts, by the calendar month."""

    TOKENS = "tokens"
    COST = "cost"
    MESSAGES = "messages"


_TOKENS: Final = frozenset({HoldUnit.INPUT_TOKENS, HoldUnit.OUTPUT_TOKENS})

Lease = Annotated[timedelta, Field(gt=timedelta(0), le=LONGEST_LEASE)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_timedelta="float")


class Subject(_Message):
    """One of those, besides the tenant, that the amounts are charged to."""

    type: SubjectType
    id: str = Field(min_length=1, max_length=100)


class Amount(_Message):
    """So much of a unit."""

    unit: HoldUnit
    amount: int = Field(ge=0, le=MOST_BYTES)


class StatedLimit(_Message):
    """What a subject of the hold may use in a month, as the asker says; a plan's limit for such subjects still binds.

    It stays until a later hold of the subject states another.
    """

    type: SubjectType
    unit: LimitUnit
    amount: int | None = Field(default=None, ge=0, le=MOST_BYTES, description="null counts without a limit.")


class HoldRequest(_Message):
    """The most that an action can use, asked for before it begins."""

    tenant_id: int = Field(ge=1, lt=1 << 63)
    subjects: tuple[Subject, ...] = Field(default=(), max_length=8)
    kind: HoldKind
    provider: str | None = Field(
        default=None, min_length=1, max_length=200, description="The name that the ledger books."
    )
    model: str | None = Field(default=None, min_length=1, max_length=200)
    amounts: tuple[Amount, ...] = Field(min_length=1, max_length=len(HoldUnit))
    limits: tuple[StatedLimit, ...] = Field(default=(), max_length=len(SubjectType) * len(LimitUnit))
    lease: Lease

    @model_validator(mode="after")
    def _check(self) -> HoldRequest:
        units = {amount.unit for amount in self.amounts}
        if len(units) != len(self.amounts):
            raise ValueError("a unit is named twice")
        if len({subject.type for subject in self.subjects}) != len(self.subjects):
            raise ValueError("a type of subject is named twice")
        if len({(limit.type, limit.unit) for limit in self.limits}) != len(self.limits):
            raise ValueError("a limit is stated twice")
        if not {limit.type for limit in self.limits} <= {subject.type for subject in self.subjects}:
            raise ValueError("a limit is stated of somebody whom the hold does not name")
        if units & _TOKENS:
            if self.provider is None or self.model is None:
                raise ValueError("tokens are held for a provider and a model; name both")
            if sum(amount.amount for amount in self.amounts if amount.unit in _TOKENS) > MOST_TOKENS:
                raise ValueError(f"more than {MOST_TOKENS} tokens")
        return self

    def amount_of(self, unit: HoldUnit) -> int:
        """The amount of a unit; 0 when it is not asked for."""
        return next((amount.amount for amount in self.amounts if amount.unit is unit), 0)


class HoldRenewal(_Message):
    """A longer lease, and fewer tokens when the action needs fewer; more are never given."""

    lease: Lease
    tokens: int | None = Field(default=None, ge=0, description="All tokens that the action can still come to.")


class HoldView(BaseModel):
    """An open hold."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    hold_id: UUID
    tokens: int = Field(description="Input and output tokens that are set aside.")
    expires_at: AwareDatetime
