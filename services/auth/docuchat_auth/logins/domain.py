"""A try to sign in by password."""

from dataclasses import dataclass, field

from docuchat_auth.sessions.domain import TokenPair
from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.users.domain import Email, User, Username
from docuchat_common.ids import TenantId


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who somebody says to be, and from where."""

    tenant_id: TenantId
    who: Email | Username
    is_email: bool
    password: str = field(repr=False)
    network: str
    otp: str | None = field(default=None, repr=False)
    device: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Candidate:
    """An account that the password may be of."""

    user: User
    tenant: Tenant
    hash: str = field(repr=False)

    def is_proven(self, attempt: Attempt) -> bool:
        """Whether what was typed is the account's own, and not an address that it merely claims."""
        return not attempt.is_email or self.user.email == attempt.who


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What signing in yields."""

    user: User
    tenant: Tenant
    tokens: TokenPair
    device: str = field(repr=False)
    """Shown at the next sign-in, it stands for a device that is known."""
