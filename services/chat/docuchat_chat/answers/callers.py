"""Who is calling, as the domain knows it."""

from __future__ import annotations

from docuchat_chat.answers.domain import Asker
from docuchat_common.http.identity import Principal


def asker_of(principal: Principal) -> Asker:
    """Return the principal as the domain knows it."""
    return Asker(principal.tenant_id, principal.user_id)
