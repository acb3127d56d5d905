"""Under which terms a question is held at the usage service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from docuchat_common.contracts.holds import StatedLimit, Subject
from docuchat_common.http.caller import Caller
from docuchat_common.metering import SubjectKind


@dataclass(frozen=True, slots=True)
class Terms:
    """Who is counted besides the caller, and what those who are counted may use."""

    subjects: tuple[Subject, ...] = ()
    limits: tuple[StatedLimit, ...] = ()


NO_TERMS: Final = Terms()


def payers(caller: Caller, chatbot_id: UUID | None) -> tuple[tuple[SubjectKind, UUID], ...]:
    """Return who pays for what is asked, besides the tenant: the caller, and the chatbot that is asked, if any."""
    asked = {} if chatbot_id is None else {"chatbot": chatbot_id}
    return tuple((dict(caller.subjects) | asked).items())
