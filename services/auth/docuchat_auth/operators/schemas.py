"""Bodies of operators' requests and answers."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import BaseModel, Field, model_validator

from docuchat_auth.operators.domain import OperatorToken
from docuchat_auth.signing_keys.domain import SigningKey
from docuchat_auth.tenants.domain import SignUp, SignUpMode, Tenant
from docuchat_auth.tenants.errors import InvalidSignUp
from docuchat_auth.tenants.service import make_signup
from docuchat_auth.users.domain import Email, Newcomer, Username
from docuchat_auth.users.schemas import Address
from docuchat_common.contracts.permissions import Role
from docuchat_common.http.json_body import Flag, Name, StrictBody

Domain = Annotated[str, Field(min_length=4, max_length=253, examples=["acme.example"])]
_DOMAINS = "For `domains`: whose people may join. You vouch that they are the tenant's own."
_OLDER = "Older form of `signup`: true is `open`, false is `invite`."


class OperatorKeyBody(StrictBody):
    """An operator's credential."""

    key: str = Field(min_length=1, max_length=200, examples=["dco_0198c1…_5f0e…"])


class OperatorTokenView(BaseModel):
    """A token that opens `/v1/operator`."""

    access_token: str = Field(description="Send it as `Authorization: Bearer <access_token>`.")
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - a name of RFC 6750
    expires_in: int = Field(description="Seconds until the token expires.", examples=[900])

    @classmethod
    def of(cls, token: OperatorToken) -> "OperatorTokenView":
        """Present a token."""
        return cls(access_token=token.access_token, expires_in=int(token.expires_in.total_seconds()))


class NewTenant(StrictBody):
    """A tenant and its first owner, who signs in by a code that is mailed to the address."""

    slug: str = Field(min_length=1, max_length=63, examples=["acme"])
    name: Name = Field(examples=["Acme"])
    owner: Address
    signup: SignUpMode | None = Field(
        default=None, description="Who may join without being invited; without it nobody may (`invite`)."
    )
    domains: list[Domain] = Field(default=[], max_length=100, description=_DOMAINS)
    signup_open: Flag | None = Field(default=None, description=_OLDER)

    def rule(self) -> SignUp:
        """Who may join. Raises InvalidSignUp."""
        return _rule(self.signup, self.domains, self.signup_open or False)


class TenantChange(StrictBody):
    """What may be changed of a tenant."""

    suspended: Flag | None = Field(
        default=None, description="Whether nothing but reading is allowed; open sockets and answers end within seconds."
    )
    signup: SignUpMode | None = Field(default=None, description="Who may join without being invited.")
    domains: list[Domain] = Field(default=[], max_length=100, description=_DOMAINS)
    signup_open: Flag | None = Field(default=None, description=_OLDER)

    def rule(self) -> SignUp | None:
        """Who may join; None when that is not asked to change. Raises InvalidSignUp."""
        if self.signup is None and self.signup_open is None:
            if self.suspended is None or self.domains:
                raise InvalidSignUp("Say in `signup` who may join: invite, domains or open.")
            return None
        return _rule(self.signup, self.domains, self.signup_open or False)


def _rule(mode: SignUpMode | None, domains: list[str], is_open: bool) -> SignUp:
    return make_signup(mode or (SignUpMode.OPEN if is_open else SignUpMode.INVITE), domains)


class OperatedTenant(BaseModel):
    """A tenant as its operator sees it."""

    id: int = Field(examples=[2])
    customer_id: UUID
    slug: str = Field(examples=["acme"])
    name: str = Field(examples=["Acme"])
    signup: SignUpMode
    domains: list[str] = Field(description=_DOMAINS)
    signup_open: bool = Field(description=_OLDER)
    suspended_at: datetime | None = Field(description="Since when nothing but reading is allowed.")
    deletes_at: datetime | None = Field(description="When it is deleted; until then that can be taken back.")
    created_at: datetime

    @classmethod
    def of(cls, tenant: Tenant) -> "OperatedTenant":
        """Present a tenant."""
        return cls(
            id=tenant.id,
            customer_id=tenant.customer_id,
            slug=tenant.slug,
            name=tenant.name,
            signup=tenant.signup.mode,
            domains=sorted(tenant.signup.domains),
            signup_open=tenant.signup.is_open,
            suspended_at=tenant.suspended_at,
            deletes_at=tenant.deletes_at,
            created_at=tenant.created_at,
        )


class ImportedUser(StrictBody):
    """A line of a file of users that are brought along."""

    email: Address | None = None
    username: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{1,62}$")] | None = None
    name: Name | None = None
    role: Role = Role.MEMBER
    password_hash: Annotated[str, Field(pattern=r"^\$(argon2id\$|2[aby]\$)", max_length=500)] | None = Field(
        default=None, description="bcrypt or Argon2id."
    )

    @model_validator(mode="after")
    def _is_called(self) -> Self:
        if self.email is None and self.username is None:
            raise ValueError("needs an email or a username")
        return self

    def newcomer(self) -> Newcomer:
        """Who the line is about."""
        return Newcomer(
            email=None if self.email is None else Email(self.email),
            username=None if self.username is None else Username(self.username),
            name=self.name,
        )


class SignInResetBody(StrictBody):
    """How far to reset."""

    second_factors: Flag = Field(
        default=False,
        description="Take authenticator app, recovery codes and passkeys away as well. Be sure who asks for it.",
    )


class KeyRotation(StrictBody):
    """How to rotate the signing keys."""

    revoke: Flag = Field(
        default=False, description="Drop every older key at once: all access tokens end. For the day a key has leaked."
    )


class RotatedKey(BaseModel):
    """The new signing key."""

    kid: str
    algorithm: str = Field(examples=["EdDSA"])
    signs_from: datetime

    @classmethod
    def of(cls, key: SigningKey) -> "RotatedKey":
        """Present a key."""
        return cls(kid=key.kid, algorithm=key.algorithm.value, signs_from=key.not_before)
