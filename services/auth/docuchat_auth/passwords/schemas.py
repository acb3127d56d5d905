"""Bodies about passwords."""

from typing import Annotated

from pydantic import Field

from docuchat_auth.codes.schemas import MailedCode
from docuchat_common.http.json_body import StrictBody

GivenPassword = Annotated[str, Field(min_length=1, max_length=200, json_schema_extra={"format": "password"})]
"""One that is only compared."""
NewPassword = Annotated[
    str,
    Field(
        min_length=8,
        max_length=200,
        description="Hard to guess; no rules about kinds of characters.",
        json_schema_extra={"format": "password"},
        examples=["four words nobody expects"],
    ),
]


class PasswordChange(StrictBody):
    """A new password of the signed-in user."""

    current: GivenPassword | None = Field(default=None, description="The present one; needless when there is none.")
    new: NewPassword


class PasswordReset(MailedCode):
    """A new password, by the code of a mail."""

    password: NewPassword
