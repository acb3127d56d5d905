"""Bodies of signing in by password."""

from dataclasses import replace
from typing import Annotated, Literal, Self
from urllib.parse import parse_qsl

from pydantic import AliasChoices, Field, model_validator

from docuchat_auth.logins.domain import Attempt, SignedIn
from docuchat_auth.passwords.schemas import GivenPassword
from docuchat_auth.sessions.schemas import Otp, Tokens
from docuchat_auth.users.addresses import parse_address
from docuchat_auth.users.domain import Email, Username, parse_username
from docuchat_common.http.json_body import StrictBody
from docuchat_common.ids import TenantId
from docuchat_common.text import western_digits

Identifier = Annotated[str, Field(min_length=2, max_length=254, examples=["user@example.com"])]
Device = Annotated[
    str | None,
    Field(
        default=None,
        min_length=16,
        max_length=64,
        description="From the answer to this device's last sign-in: it has a budget of failures of its own then.",
    ),
]


class LoginBody(StrictBody):
    """Who wants to sign in."""

    who: Identifier = Field(
        validation_alias=AliasChoices("email", "username"),
        description="The address, or the user name; `username` is the same.",
    )
    password: GivenPassword
    tenant: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="As in `X-Tenant-ID`; needless for who is in one only.", examples=["acme"]
    )
    otp: Otp
    device: Device

    def attempt(self, tenant_id: TenantId, network: str) -> Attempt:
        """What the body says; who cannot be anybody is looked for all the same."""
        is_email = "@" in self.who
        who = Email(parse_address(self.who)) if is_email else parse_username(self.who) or Username("")
        return Attempt(tenant_id, who, is_email, self.password, network, self.otp, self.device)

    @model_validator(mode="after")
    def _is_an_address(self) -> Self:
        if "@" in self.who:
            parse_address(self.who)
        return self


class TokenBody(LoginBody):
    """OAuth 2 (RFC 6749 §4.3): the resource owner's password credentials."""

    grant_type: Literal["password"] | None = None
    scope: str = Field(default="", max_length=1000, description="Taken and not used: a user may what the role may.")
    client_id: str | None = Field(
        default=None, max_length=200, description="May name the tenant, for clients that can say it nowhere else."
    )
    client_secret: str | None = Field(
        default=None, max_length=200, description="May be the `otp`, for clients that can say it nowhere else."
    )

    def attempt(self, tenant_id: TenantId, network: str) -> Attempt:
        """As of any sign-in."""
        found, secret = super().attempt(tenant_id, network), str(western_digits(self.client_secret or ""))
        return replace(found, otp=secret) if found.otp is None and 6 <= len(secret) <= 32 else found

    @classmethod
    def fields_of_form(cls, body: bytes) -> dict[str, str]:
        """What a form holds; ValueError when it is none. Empty fields are as if they were not sent."""
        return dict(parse_qsl(body.decode(), max_num_fields=20, strict_parsing=True))


class SignedInTokens(Tokens):
    """Tokens, and the name of the device that has signed in."""

    device: str = Field(description="Keep it, and send it with the next sign-in from this device.")

    @classmethod
    def of_sign_in(cls, done: SignedIn) -> Self:
        """Present a sign-in."""
        return cls(**Tokens.of(done.tokens).model_dump(), device=done.device)
