"""What an access token says: its claims as an identity."""

from dataclasses import dataclass, field
from typing import Any, get_args
from uuid import UUID

from docuchat_common.errors import Unauthenticated
from docuchat_common.http.caller import NO_TENANT, Caller, SubjectType
from docuchat_common.ids import TenantId


class InvalidToken(Unauthenticated):
    """The access token is not valid; sign in again."""

    code = "invalid_token"


@dataclass(frozen=True)
class Identity:
    """What a valid token says."""

    caller: Caller
    tenant_slug: str
    """Empty for an operator."""
    customer_id: str
    """The tenant's UUID; empty for an operator."""
    email: str | None
    expires_at: float
    """Unix time at which the token ends."""
    token: str = field(repr=False)
    """The token itself, to forward to another service."""
    kid: str = ""
    """The key that signed it."""
    origin: str | None = None
    """The origin of the pages that may use a visitor's token; None for everybody else."""


def identity_of(claims: dict[str, Any], token: str, kid: str) -> Identity:
    """Who the holder of a token with these claims is. Raises InvalidToken."""
    email = claims.get("email")
    try:
        if claims["typ"] == "operator":
            tenant_slug = ""
            scopes = frozenset(str(claims["scope"]).split())
            caller = Caller(NO_TENANT, "operator", UUID(claims["sub"]), scopes=scopes)
        elif claims["typ"] == "access":
            tenant_slug = str(claims["tenant_slug"])
            caller = _tenants_caller(claims)
        else:
            raise InvalidToken("This is not an access token; send the `access_token`, not the refresh token.")
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidToken from error
    return Identity(
        caller=caller,
        tenant_slug=tenant_slug,
        customer_id=str(claims.get("customer_id") or ""),
        email=email if isinstance(email, str) else None,
        expires_at=float(claims["exp"]),
        token=token,
        kid=kid,
        origin=claims.get("origin"),
    )


def _tenants_caller(claims: dict[str, Any]) -> Caller:
    kind: SubjectType = claims.get("sub_type", "user")
    if kind not in get_args(SubjectType) or kind == "operator":
        raise InvalidToken
    # a user may have all that the role has; anybody else only what the token names
    has_scopes = kind != "user" or "scope" in claims
    subject_id = UUID(claims["sub"])
    chatbot_id = key_id = None
    if kind == "visitor":
        chatbot_id = UUID(claims["chatbot"])
        if not isinstance(claims["origin"], str):
            raise InvalidToken
    elif kind == "chatbot":
        chatbot_id, key_id = subject_id, UUID(claims["key"])
    return Caller(
        TenantId(int(claims["tenant"])),
        kind,
        subject_id,
        role=str(claims["role"]),
        scopes=frozenset(str(claims.get("scope", "")).split()) if has_scopes else None,
        groups=frozenset(map(UUID, claims.get("groups", ()))),
        session_id=UUID(claims["sid"]) if "sid" in claims else None,
        version=int(claims.get("ver", 0)),
        owner_id=UUID(claims["user"]) if "user" in claims else None,
        chatbot_id=chatbot_id,
        key_id=key_id,
    )
