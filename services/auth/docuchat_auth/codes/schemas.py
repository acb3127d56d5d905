"""Bodies of signing in."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, Field

from docuchat_auth.codes.domain import CODE_DIGITS, Challenge
from docuchat_auth.sessions.schemas import Otp
from docuchat_auth.users.domain import Email
from docuchat_auth.users.schemas import Address
from docuchat_common.http.json_body import StrictBody
from docuchat_common.text import western_digits

Code = Annotated[
    str,
    BeforeValidator(western_digits),
    Field(pattern=rf"^\s*[0-9]{{{CODE_DIGITS}}}\s*$", description="Six digits.", examples=["123456"]),
]


class CodeRequestBody(StrictBody):
    """Who wants to sign in."""

    email: Address
    challenge: str | None = Field(
        default=None, min_length=16, max_length=64, description="The one that this browser signed in with before."
    )

    @property
    def address(self) -> Email:
        """The validated address."""
        return Email(self.email)


class CodeSent(BaseModel):
    """The same for every address, whether it has an account or not."""

    status: Literal["sent"] = "sent"
    expires_in: int = Field(description="Seconds until the code expires.", examples=[600])
    challenge: str = Field(description="Send it with the code.", examples=["Jm5o2yWb3yq1p0QmZ0cXk9dT4f6hA7sE"])

    @classmethod
    def of(cls, challenge: Challenge) -> "CodeSent":
        """Present the answer to a request."""
        return cls(expires_in=int(challenge.expires_in.total_seconds()), challenge=challenge.text)


class MailedCode(CodeRequestBody):
    """A code that came by mail, for whatever it was asked for."""

    challenge: str | None = Field(
        default=None, min_length=16, max_length=64, description="From the answer to the request for this code."
    )
    code: Code


class CodeVerifyBody(MailedCode):
    """The code that came by mail."""

    otp: Otp
