"""Bodies of sessions' requests and answers."""

from typing import Literal

from pydantic import BaseModel, Field

from docuchat_auth.sessions.domain import TokenPair
from docuchat_common.http.json_body import StrictBody


class RefreshBody(StrictBody):
    """A refresh token."""

    refresh_token: str = Field(min_length=1, max_length=512, examples=["o1tXr8e4Vf0mC4y5JmQhF2bqz0j2Dg0h8fYkq3S1xZk"])


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

    @classmethod
    def of(cls, pair: TokenPair) -> "Tokens":
        """Presents a pair."""
        return cls(
            access_token=pair.access_token,
            expires_in=int(pair.expires_in.total_seconds()),
            refresh_token=pair.refresh_token,
        )
