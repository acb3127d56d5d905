"""Bodies of auth's requests and answers."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from docuchat_auth.domain import CODE_DIGITS, Email, Role, Tenant, TokenPair, User

_LONGEST_ADDRESS = 254


def _address(value: str) -> str:
    """Lower case, with an international domain in its ASCII form; deliverability is for the mail server to find out."""
    try:
        checked = validate_email(value.strip(), check_deliverability=False, allow_smtputf8=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(f"is not an e-mail address: {error}") from None
    return (checked.ascii_email or checked.normalized).lower()


Address = Annotated[
    str,
    Field(
        min_length=3, max_length=_LONGEST_ADDRESS, json_schema_extra={"format": "email"}, examples=["user@example.com"]
    ),
    AfterValidator(_address),
]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class CodeRequestBody(_Body):
    """Who wants to sign in."""

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


class RefreshBody(_Body):
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
        description="Good for one POST /v1/auth/refresh.", examples=["o1tXr8e4Vf0mC4y5JmQhF2bqz0j2Dg0h8fYkq3S1xZk"]
    )

    @classmethod
    def of(cls, pair: TokenPair) -> "Tokens":
        """Presents a pair."""
        return cls(
            access_token=pair.access_token,
            expires_in=int(pair.expires_in.total_seconds()),
            refresh_token=pair.refresh_token,
        )


class TenantView(BaseModel):
    """The user's tenant."""

    id: int = Field(examples=[1])
    slug: str = Field(examples=["demo"])
    name: str = Field(examples=["Demo"])


class Me(BaseModel):
    """The signed-in user."""

    id: UUID
    email: str = Field(examples=["user@example.com"])
    role: Role
    tenant: TenantView
    created_at: datetime

    @classmethod
    def of(cls, user: User, tenant: Tenant) -> "Me":
        """Presents a user."""
        return cls(
            id=user.id,
            email=user.email,
            role=user.role,
            tenant=TenantView(id=tenant.id, slug=tenant.slug, name=tenant.name),
            created_at=user.created_at,
        )


class JsonWebKey(BaseModel):
    """A public key (RFC 7517, RFC 8037)."""

    kty: str = Field(examples=["OKP"])
    crv: str = Field(examples=["Ed25519"])
    x: str
    y: str | None = None
    kid: str
    alg: str = Field(examples=["EdDSA"])
    use: str = Field(examples=["sig"])


class JsonWebKeySet(BaseModel):
    """The keys that verify access tokens."""

    keys: list[JsonWebKey]
