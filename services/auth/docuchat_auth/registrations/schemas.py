"""Bodies of registering."""

from collections.abc import Callable
from typing import Annotated, Self
from uuid import UUID

from pydantic import AliasChoices, Field, model_validator

from docuchat_auth.codes.schemas import Code, CodeSent
from docuchat_auth.passwords.schemas import NewPassword
from docuchat_auth.registrations.domain import Application, Registered
from docuchat_auth.sessions.schemas import Tokens
from docuchat_auth.users.addresses import parse_address
from docuchat_auth.users.domain import Email, parse_username
from docuchat_auth.users.schemas import Address, Me
from docuchat_common.http.json_body import Name, StrictBody

ChallengeOfCode = Annotated[
    str | None, Field(min_length=16, max_length=64, description="From the answer that said that a code was sent.")
]


class RegisterBody(StrictBody):
    """A stranger who wants to become a user."""

    email: Address | None = None
    username: str | None = Field(
        default=None, min_length=2, max_length=254, description="To sign in with, where there is no address."
    )
    name: Name | None = Field(default=None, description="For people.", examples=["Ann Example"])
    password: NewPassword
    organization: Name | None = Field(
        default=None,
        validation_alias=AliasChoices("organization", "customer_name", "customer"),
        description="Found a tenant of this name and own it.",
        examples=["Acme"],
    )
    code: Code | None = Field(default=None, description="Of the mail that the first request sent, where it sent one.")
    challenge: ChallengeOfCode = None

    @model_validator(mode="after")
    def _is_called(self) -> Self:
        if self.email is None and self.username is None:
            raise ValueError("needs an email or a username")
        if self.username is not None and "@" in self.username:
            if self.email not in (None, parse_address(self.username)):
                raise ValueError("names two addresses, as email and as username")
        elif self.username is not None and parse_username(self.username) is None:
            raise ValueError("a username is 2 to 63 letters a-z, digits, dots, hyphens and underscores, or an address")
        return self

    def told_apart(self, name_of: Callable[[str, str], UUID]) -> Self:
        """The body with a name in the place of its secrets, by which a repetition is known."""
        return self.model_copy(update={"password": str(name_of(self.password, self.code or "")), "code": None})

    def application(self) -> Application:
        """What the body says; a user name that is an address is the address."""
        is_address = self.username is not None and "@" in self.username
        email = self.email or (parse_address(self.username) if self.username and is_address else None)
        return Application(
            email=None if email is None else Email(email),
            username=None if self.username is None or is_address else parse_username(self.username),
            name=self.name,
            password=self.password,
            organization=self.organization,
            code=None if self.code is None else self.code.strip(),
            challenge=self.challenge,
        )


class VerificationBody(StrictBody):
    """The code that came to the address."""

    code: Code
    challenge: ChallengeOfCode = None


class RegisteredView(Tokens):
    """A new user, who is signed in."""

    user: Me
    verification: CodeSent | None = Field(
        description="A code was mailed to the address: `POST /v1/auth/verify-email` takes it. Until then nothing is "
        "decided by the address, and `email_verified` is false."
    )

    @classmethod
    def of_registration(cls, done: Registered) -> Self:
        """Present a registration."""
        entry, sent = done.entry, done.verification
        return cls(
            **Tokens.of(entry.tokens).model_dump(),
            user=Me.of(entry.user, entry.tenant),
            verification=None if sent is None else CodeSent.of(sent),
        )
