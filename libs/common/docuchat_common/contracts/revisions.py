"""What changed since access tokens were signed, as auth tells it at `GET /internal/revisions`."""

from typing import Final, Literal
from uuid import NAMESPACE_OID, UUID, uuid5

from pydantic import BaseModel, ConfigDict, Field

PATH: Final = "/internal/revisions"
PAGE: Final = 5000
"""Revisions that are told at once to who asks with `limit`."""

RevisionKind = Literal["user", "session", "key", "tenant", "chatbot"]
RevisionState = Literal["active", "changed", "ended", "suspended", "deleting", "deleted"]


class Revision(BaseModel):
    """How a user, session, key, tenant or chatbot stands now."""

    model_config = ConfigDict(frozen=True)

    tenant_id: int
    kind: RevisionKind
    subject: str
    """The id of the user, session, key, chatbot or operator's credential; `signer_id` of a signing key; a tenant's
    number."""
    version: int = 0
    """Of a user, or of a chatbot's visitors: tokens with an older `ver` are refused."""
    state: RevisionState


class RevisionPage(BaseModel):
    """What became visible since `after` was given; without it, all that is not forgotten."""

    items: list[Revision]
    after: str = Field(description="Opaque: send it to get what comes next.")
    next: str | None = Field(
        default=None, description="Opaque: there is more of this; ask again with it as `page` and the same `after`."
    )


def signer_id(kid: str) -> UUID:
    """By what a signing key is named among the keys that ended."""
    return uuid5(NAMESPACE_OID, kid)
