"""Bodies of signing in."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from docuchat_auth.codes.domain import CODE_DIGITS
from docuchat_auth.users.domain import Email
from docuchat_auth.users.schemas import Address


class CodeRequestBody(BaseModel):
    """Who wants to sign in."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    email: Address

    @property
    def address(self) -> Email:
        """The validated address."""
        return Email(self.email)


class CodeSent(BaseModel):
    """The same for every address, whether it has an account or not."""

    status: Literal["sent"] = "sent"
    expires_in: int = Field(description="Seconds until the code expires.", examples=[600])


class CodeVerifyBody(CodeRequestBody):
    """The code that came by mail."""

    code: str = Field(pattern=rf"^\s*[0-9]{{{CODE_DIGITS}}}\s*$", description="Six digits.", examples=["123456"])
