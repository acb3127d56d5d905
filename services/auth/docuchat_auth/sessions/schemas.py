"""Bodies of sessions' requests and answers."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, Field

from docuchat_auth.sessions.domain import OpenSession, TokenPair
from docuchat_common.http.json_body import StrictBody
from docuchat_common.text import western_digits

Otp = Annotated[
    Annotated[str, BeforeValidator(western_digits), Field(min_length=6, max_length=32)] | None,
    Field(
        default=None,
        description="Where the account has a second factor: six digits of the authenticator app, or a recovery code.",
        examples=["123456"],
    ),
]


class RefreshBody(StrictBody):
    """A refresh token."""

    refresh_token: str = Field(min_length=1, max_length=512, examples=["o1tXr8e4Vf0mC4y5JmQhF2bqz0j2Dg0h8fYkq3S1xZk"])


class SessionView(BaseModel):
    """A sign-in that goes on."""

    id: UUID
    device: str = Field(description="What the client said of itself when it was last here.", examples=["curl/8.5.0"])
    address: str = Field(description="From where it was last here; of IPv6 the network.", examples=["192.0.2.1"])
    created_at: datetime
    last_used_at: datetime = Field(description="When it was begun or last refreshed.")
    expires_at: datetime
    is_current: bool = Field(description="Whether it is the one that asks.")

    @classmethod
    def of(cls, session: OpenSession, current: UUID | None) -> "SessionView":
        """Present a session."""
        return cls(
            id=session.id,
            device=session.origin.device,
            address=session.origin.address,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            expires_at=session.expires_at,
            is_current=session.id == current,
        )


class Tokens(BaseModel):
    """A signed access token and the refresh token that replaces it later."""

    access_token: str = Field(
        description="Send it as `Authorization: Bearer <access_token>`.", examples=["eyJhbGciOi…"]
    )
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a name of RFC 6750
    expires_in: int = Field(description="Seconds until the access token expires.", examples=[3600])
    refresh_token: str = Field(
        description="Replaces the one before.",
        examples=["o1tXr8e4Vf0mC4y5JmQhF2bqz0j2Dg0h8fYkq3S1xZk"],
    )
    scope: str | None = Field(
        default=None,
        description="`account.use` while the tenant demands a second factor that is not set up: the token is good for "
        "that alone, and a refresh afterwards brings one for everything. Else null.",
    )

    @classmethod
    def of(cls, pair: TokenPair) -> "Tokens":
        """Presents a pair."""
        return cls(
            access_token=pair.access_token,
            expires_in=int(pair.expires_in.total_seconds()),
            refresh_token=pair.refresh_token,
            scope=None if pair.scopes is None else " ".join(sorted(pair.scopes)),
        )
