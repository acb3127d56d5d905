"""Under which terms a question is held at the usage service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from docuchat_common.contracts.holds import StatedLimit, Subject, SubjectType
from docuchat_common.http.caller import Caller
from docuchat_common.metering import SubjectKind


@dataclass(frozen=True, slots=True)
class Terms:
    """Who is counted besides the caller, and what those who are counted may use."""

    subjects: tuple[Subject, ...] = ()
    limits: tuple[StatedLimit, ...] = ()


NO_TERMS: Final = Terms()


def terms_of(chatbot_id: UUID | None) -> Terms:
    """Return the terms of what is asked beside an answer: its chatbot is counted, under the limits that were stated."""
    return NO_TERMS if chatbot_id is None else Terms((Subject(type=SubjectType.CHATBOT, id=str(chatbot_id)),))


def payers(caller: Caller, chatbot_id: UUID | None) -> tuple[tuple[SubjectKind, UUID], ...]:
    """Return who pays for what is asked, besides the tenant: the caller, and the chatbot that is asked, if any."""
    asked = {} if chatbot_id is None else {"chatbot": chatbot_id}
    return tuple((dict(caller.subjects) | asked).items())
