"""Bodies about visitors, and about a chatbot's key as chat is told of it."""

from typing import Final
from uuid import UUID

from pydantic import BaseModel, Field

from docuchat_auth.api_keys.domain import ApiKey
from docuchat_auth.chatbots.domain import VISIT, Visit
from docuchat_common.contracts.chatbots import IssuedCredentials, KeyView, SecretView
from docuchat_common.http.json_body import StrictBody

_LONGEST: Final = 4096


class VisitorBody(StrictBody):
    """Who comes again."""

    visitor_token: str | None = Field(
        default=None,
        max_length=_LONGEST,
        repr=False,
        description="The token of before, also up to 30 days after its end: the visitor stays the same. One of another "
        "chatbot or page, or that nobody can read, makes a new visitor.",
    )


class VisitorToken(BaseModel):
    """A visitor's access token."""

    visitor_token: str = Field(repr=False, description="Send it as `Authorization: Bearer`, from the same page only.")
    token_type: str = "Bearer"  # noqa: S105 - the scheme of the header, not a secret
    expires_in: int = Field(default=int(VISIT.total_seconds()), description="Seconds.", examples=[900])
    visitor_id: UUID

    @classmethod
    def of(cls, visit: Visit) -> "VisitorToken":
        """Present a visit."""
        return cls(visitor_token=visit.token, visitor_id=visit.visitor_id)


def present(key: ApiKey | None, text: str | None) -> IssuedCredentials:
    """A chatbot's key as chat is told of it, and its secret where that was made just now."""
    return IssuedCredentials(
        secret_key=text,
        key=None
        if key is None
        else KeyView(
            id=key.id,
            secrets=tuple(
                SecretView(
                    prefix=secret.prefix,
                    created_at=secret.created_at,
                    ends_at=secret.ends_at,
                    last_used_at=secret.last_used_at,
                    last_used_from=secret.last_used_from,
                )
                for secret in key.secrets
            ),
        ),
    )
