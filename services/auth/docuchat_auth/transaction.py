"""One transaction: the slices' repositories and the outbox.

Who holds more than one thing takes them in this order, so that two transactions never wait for each other:

1. `users.lock_all`: what is counted or decided over all users of a tenant
2. `tenants.lock`: the tenant
3. `groups.lock`: groups, by id
4. `chatbots.lock`: the chatbot that is changed
5. `api_keys.lock`: the key that asks, or that is changed
6. `users.lock`: users, by id, who asks among them (`users.service.require_still`)
7. what hangs on a user: sessions, passwords, second factors, memberships

Signing keys and the chains of the log (by number) are held in transactions of their own.
"""

from dataclasses import dataclass

import asyncpg

from docuchat_auth.api_keys.repository import ApiKeyRepository
from docuchat_auth.audit.repository import AuditRepository
from docuchat_auth.chatbots.repository import ChatbotRepository
from docuchat_auth.domains.repository import DomainRepository
from docuchat_auth.federated_logins.repository import FederatedIdentityRepository
from docuchat_auth.groups.repository import GroupRepository
from docuchat_auth.identity_providers.repository import IdentityProviderRepository
from docuchat_auth.invitations.repository import InvitationRepository
from docuchat_auth.lifecycle.repository import ReceiptRepository
from docuchat_auth.operators.repository import OperatorRepository
from docuchat_auth.passkeys.repository import PasskeyRepository
from docuchat_auth.passwords.repository import PasswordRepository
from docuchat_auth.revisions.repository import RevisionRepository
from docuchat_auth.scim.repository import ExternalIdRepository
from docuchat_auth.second_factors.repository import SecondFactorRepository
from docuchat_auth.sessions.repository import RefreshTokenRepository
from docuchat_auth.signing_keys.repository import SigningKeyRepository
from docuchat_auth.tenants.repository import TenantRepository
from docuchat_auth.user_erasures.repository import UserReceiptRepository
from docuchat_auth.users.repository import UserRepository
from docuchat_common.erasure import Erasures
from docuchat_common.idempotency import IdempotentRequests
from docuchat_common.messaging.inbox import Inbox
from docuchat_common.messaging.outbox import Outbox


@dataclass(frozen=True, slots=True)
class Tx:
    """Repositories and the outbox on one connection."""

    tenants: TenantRepository
    revisions: RevisionRepository
    users: UserRepository
    groups: GroupRepository
    invitations: InvitationRepository
    refresh_tokens: RefreshTokenRepository
    passwords: PasswordRepository
    second_factors: SecondFactorRepository
    passkeys: PasskeyRepository
    signing_keys: SigningKeyRepository
    operators: OperatorRepository
    api_keys: ApiKeyRepository
    chatbots: ChatbotRepository
    domains: DomainRepository
    identity_providers: IdentityProviderRepository
    federated_identities: FederatedIdentityRepository
    external_ids: ExternalIdRepository
    audit: AuditRepository
    receipts: ReceiptRepository
    user_receipts: UserReceiptRepository
    erasures: Erasures
    requests: IdempotentRequests
    outbox: Outbox


def compose(connection: asyncpg.Connection, outbox: Outbox, _: Inbox) -> Tx:
    """What auth consumes has its entry as its inbox row."""
    return Tx(
        tenants=TenantRepository(connection),
        revisions=RevisionRepository(connection),
        users=UserRepository(connection),
        groups=GroupRepository(connection),
        invitations=InvitationRepository(connection),
        refresh_tokens=RefreshTokenRepository(connection),
        passwords=PasswordRepository(connection),
        second_factors=SecondFactorRepository(connection),
        passkeys=PasskeyRepository(connection),
        signing_keys=SigningKeyRepository(connection),
        operators=OperatorRepository(connection),
        api_keys=ApiKeyRepository(connection),
        chatbots=ChatbotRepository(connection),
        domains=DomainRepository(connection),
        identity_providers=IdentityProviderRepository(connection),
        federated_identities=FederatedIdentityRepository(connection),
        external_ids=ExternalIdRepository(connection),
        audit=AuditRepository(connection),
        receipts=ReceiptRepository(connection),
        user_receipts=UserReceiptRepository(connection),
        erasures=Erasures(connection, "auth"),
        requests=IdempotentRequests(connection, "auth"),
        outbox=outbox,
    )
