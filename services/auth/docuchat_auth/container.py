"""What the routes and the command line work with."""

from dataclasses import dataclass

from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.audit.service import AuditLog
from docuchat_auth.chatbots.service import Chatbots
from docuchat_auth.codes.service import SignIn
from docuchat_auth.domains.service import Domains
from docuchat_auth.federated_logins.service import FederatedSignIn
from docuchat_auth.groups.service import Groups
from docuchat_auth.identity_providers.service import IdentityProviders
from docuchat_auth.invitations.service import Invitations
from docuchat_auth.lifecycle.service import Deletion
from docuchat_auth.lifecycle.service import Settings as TenantSettings
from docuchat_auth.links.service import Links
from docuchat_auth.logins.service import PasswordSignIn
from docuchat_auth.members.service import Members
from docuchat_auth.operators.service import DomainRelease, Operators, SignInReset, TenantFounding, UserImport
from docuchat_auth.passkeys.service import Passkeys
from docuchat_auth.passwords.service import Passwords
from docuchat_auth.registrations.service import Registrations
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.scim.service import Provisioning
from docuchat_auth.second_factors.service import SecondFactors
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.settings import Settings
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.user_erasures.service import UserErasures
from docuchat_auth.users.service import Profiles, UserDirectory
from docuchat_common.exporting import Exporter
from docuchat_common.http.health import Check
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.http.refusals import Refusals
from docuchat_common.idempotency import Idempotency
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.sealing import SealedAnswers


@dataclass(frozen=True, kw_only=True)
class Doors:
    """The ways to sign in, and what they need."""

    sign_in: SignIn
    password_sign_in: PasswordSignIn
    passwords: Passwords
    registrations: Registrations
    second_factors: SecondFactors
    passkeys: Passkeys
    identity_providers: IdentityProviders
    federated_sign_in: FederatedSignIn
    sign_in_reset: SignInReset


@dataclass(frozen=True, kw_only=True)
class People:
    """Who is in a tenant, and what they have there."""

    profiles: Profiles
    users: UserDirectory
    members: Members
    user_erasures: UserErasures
    invitations: Invitations
    groups: Groups
    links: Links
    provisioning: Provisioning
    api_keys: ApiKeys
    chatbots: Chatbots


@dataclass(frozen=True, kw_only=True)
class Tenants:
    """Tenants, from their founding to their end."""

    tenants: TenantDirectory
    founding: TenantFounding
    tenant_settings: TenantSettings
    deletion: Deletion
    domains: Domains
    domain_release: DomainRelease


@dataclass(frozen=True, kw_only=True)
class Container(Doors, People, Tenants):
    """What the routes work with."""

    settings: Settings
    verifier: TokenVerifier
    sessions: Sessions
    revisions: Revisions
    keys: KeyRing
    operators: Operators
    audit: AuditLog
    sealed_answers: SealedAnswers
    refusals: Refusals
    dead_letters: DeadLetterOffice
    exporter: Exporter
    idempotency: Idempotency
    checks: dict[str, Check]
    watched: dict[str, Check]
    background: frozenset[str]
    """The names of all work that goes on beside the requests."""


@dataclass(frozen=True, slots=True)
class Administration:
    """What the command line works with."""

    tenants: TenantDirectory
    keys: KeyRing
    imports: UserImport
