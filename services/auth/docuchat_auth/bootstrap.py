"""The composition root: how everything is put together."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from docuchat_auth.adapters.name_servers import NameServers
from docuchat_auth.adapters.openid import OpenIdClient
from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.audit.service import AuditLog
from docuchat_auth.background import start_mail, start_sweeps
from docuchat_auth.chatbots.service import Chatbots
from docuchat_auth.codes.service import CodeDesk, SignIn, SignInPolicy
from docuchat_auth.container import Administration, Container, Doors, People, Tenants
from docuchat_auth.domains.service import Domains
from docuchat_auth.federated_logins.admission import Admission
from docuchat_auth.federated_logins.service import FederatedSignIn, Places
from docuchat_auth.federated_logins.store import PendingSignIns
from docuchat_auth.ground import SCHEMA, Ground, make_keyring, open_database, open_ground
from docuchat_auth.groups.service import Groups
from docuchat_auth.handlers import subscriptions
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_auth.identity_providers.service import IdentityProviders
from docuchat_auth.invitations.service import InvitationPolicy, Invitations
from docuchat_auth.lifecycle.service import Deletion, Notices
from docuchat_auth.lifecycle.service import Settings as TenantSettings
from docuchat_auth.links.service import Links
from docuchat_auth.logins.attempts import Attempts
from docuchat_auth.logins.service import PasswordSignIn
from docuchat_auth.members.service import ForgetGuesses, Members
from docuchat_auth.operators.service import DomainRelease, Operators, SignInReset, TenantFounding, UserImport
from docuchat_auth.passkeys.ceremonies import RelyingParty
from docuchat_auth.passkeys.challenges import Challenges
from docuchat_auth.passkeys.service import Passkeys
from docuchat_auth.passwords.hashing import PasswordPool
from docuchat_auth.passwords.service import Passwords
from docuchat_auth.registrations.service import RegistrationPolicy, Registrations
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.scim.service import Provisioning
from docuchat_auth.second_factors.service import SecondFactors
from docuchat_auth.settings import Settings
from docuchat_auth.tenant_erasure import make_erasure, start_erasures
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.transaction import Tx, compose
from docuchat_auth.user_erasures.service import UserErasures
from docuchat_auth.users.service import Profiles, UserDirectory
from docuchat_common.background import Background
from docuchat_common.clock import Clock, SystemClock
from docuchat_common.db import UnitOfWork, load_queries
from docuchat_common.egress import open_egress
from docuchat_common.exporting import Exporter
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.http.refusals import Refusals
from docuchat_common.idempotency import Idempotency
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.messaging.relay import Relay
from docuchat_common.redis import check_redis
from docuchat_common.sealing import SealedAnswers

EXPORTED = (
    "tenant", "domains", "identity_providers", "users", "identities", "external_ids", "second_factors", "passkeys",
    "sessions", "groups", "invitations", "chatbots", "api_keys", "audit",
)  # fmt: skip


def make_policy(settings: Settings) -> SignInPolicy:
    """The limits of these settings."""
    return SignInPolicy(
        code_lifetime=settings.code_ttl,
        send_per_browser=settings.code_sends_per_browser,
        send_per_email=settings.code_sends_per_email,
        send_per_email_and_address=settings.code_sends_per_email_and_address,
        send_per_address=settings.code_sends_per_address,
        verify_per_address=settings.code_tries_per_address,
    )


@asynccontextmanager
async def open_container(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Container]:
    """Everything the service runs on, with its background work."""
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings, "docuchat-auth"))
        broker = await stack.enter_async_context(Broker.connect(settings.rabbitmq_url, name="docuchat-auth"))
        relay = Relay(database, SCHEMA, Publisher(broker))
        uow = UnitOfWork[Tx](database, compose, schema=SCHEMA, on_events_committed=relay.wake)
        ground = await stack.enter_async_context(open_ground(settings, uow, clock or SystemClock()))
        doors, forget_removed = await stack.enter_async_context(_open_doors(ground))
        # its own keys as they are, not over HTTP: it would ask before it listens
        verifier = await stack.enter_async_context(TokenVerifier.open(settings, published=ground.keys.published))
        audit = AuditLog(uow)
        people = _open_people(ground, doors.passwords, audit, [ground.forget_codes, forget_removed])
        tenants = _open_tenants(ground)
        dead_letters = DeadLetterOffice(broker, SCHEMA)
        consumer = Consumer(broker, subscriptions(audit, tenants.deletion, people.user_erasures))

        background = await stack.enter_async_context(Background())
        background.start("relay", relay.run)
        start_sweeps(background, ground, people, audit)
        erasure = make_erasure(uow, audit, ground.redis, dead_letters)
        start_erasures(background, tenants.tenant_settings, tenants.deletion, erasure, people.user_erasures)
        start_mail(stack, background, ground.letter_queue, ground.mailer.send_letter, 1)
        start_mail(stack, background, ground.code_queue, ground.delivery.deliver, settings.mail_workers)
        consumer.start()
        stack.push_async_callback(consumer.stop, settings.shutdown_grace)
        yield Container(
            **vars(doors),
            **vars(people),
            **vars(tenants),
            settings=settings,
            verifier=verifier,
            sessions=ground.sessions,
            revisions=ground.revisions,
            keys=ground.keys,
            operators=Operators(uow, ground.keys, ground.limiter, ground.clock),
            audit=audit,
            sealed_answers=SealedAnswers(ground.secret),
            refusals=Refusals(uow),
            dead_letters=dead_letters,
            exporter=Exporter(uow, load_queries("docuchat_auth", "exports.sql"), EXPORTED),
            idempotency=Idempotency(uow),
            checks={"postgres": database.check, "redis": partial(check_redis, ground.redis)},
            # events wait in the outbox: no request needs the broker
            watched={"rabbitmq": consumer.check},
            background=background.names,
        )


@asynccontextmanager
async def _open_doors(ground: Ground) -> AsyncIterator[tuple[Doors, ForgetGuesses]]:
    """The ways to sign in, and how what was counted of somebody who goes is forgotten."""
    settings, uow, sessions, clock = ground.settings, ground.uow, ground.sessions, ground.clock
    policy, client_secrets = settings.egress_policy(), SealedSecrets(ground.secret)
    desk = CodeDesk(uow, ground.codes, ground.limiter, ground.pseudonyms, ground.hand_code, make_policy(settings))
    second_factors = SecondFactors(uow, ground.check, sessions, ground.revisions, clock, settings.totp_issuer)
    attempts = Attempts(ground.redis, ground.limiter, ground.budget, settings.failures_per_network)
    async with (
        PasswordPool.open(settings.password_threads, settings.password_room) as pool,
        open_egress(policy) as egress,
    ):
        passwords = Passwords(uow, pool, desk, sessions, ground.limiter, clock, settings.passwords_per_address)
        by_password = PasswordSignIn(
            uow, sessions, pool, attempts, ground.pseudonyms, clock, settings.login_refused_after
        )
        doors = Doors(
            sign_in=SignIn(uow, sessions, desk, clock, first_comer_owns=settings.first_comer_owns),
            password_sign_in=by_password,
            passwords=passwords,
            registrations=Registrations(
                uow,
                ground.directory,
                sessions,
                passwords,
                desk,
                ground.limiter,
                clock,
                RegistrationPolicy(
                    settings.self_service_tenants, settings.first_comer_owns, settings.registrations_per_address
                ),
            ),
            second_factors=second_factors,
            passkeys=Passkeys(
                uow,
                RelyingParty(settings.webauthn_rp_id, settings.totp_issuer, settings.webauthn_origins),
                Challenges(ground.redis, ground.secret, clock),
                sessions,
                second_factors,
                clock,
            ),
            identity_providers=IdentityProviders(uow, sessions, client_secrets, policy, clock),
            federated_sign_in=FederatedSignIn(
                uow,
                ground.directory,
                sessions,
                OpenIdClient(egress, policy, client_secrets, clock),
                PendingSignIns(ground.redis, ground.secret),
                Admission(sessions, ground.revisions, clock),
                clock,
                Places(settings.public_url, settings.sign_in_return_urls),
            ),
            sign_in_reset=SignInReset(uow, sessions, [ground.forget_codes, by_password.forget_failures]),
        )
        yield doors, by_password.forget_removed


def _open_people(ground: Ground, passwords: Passwords, audit: AuditLog, forget: Sequence[ForgetGuesses]) -> People:
    settings, uow, sessions, clock = ground.settings, ground.uow, ground.sessions, ground.clock
    members = Members(uow, sessions, ground.revisions, forget)
    api_keys = ApiKeys(uow, ground.keys, ground.revisions, clock)
    return People(
        profiles=Profiles(uow),
        users=UserDirectory(uow),
        members=members,
        user_erasures=UserErasures(uow, members, audit, clock),
        invitations=Invitations(
            uow,
            sessions,
            passwords,
            ground.limiter,
            ground.pseudonyms,
            ground.hand_letter,
            clock,
            InvitationPolicy(settings.invitation_ttl, settings.invitations_per_tenant, settings.invitations_per_email),
        ),
        groups=Groups(uow, ground.revisions, clock),
        links=Links(uow, sessions, clock),
        provisioning=Provisioning(uow, sessions, ground.revisions, clock),
        api_keys=api_keys,
        chatbots=Chatbots(
            uow, api_keys, ground.keys, ground.revisions, ground.limiter, clock, settings.visitors_per_address
        ),
    )


def _open_tenants(ground: Ground) -> Tenants:
    settings, uow, revisions, clock = ground.settings, ground.uow, ground.revisions, ground.clock
    notices, grace = Notices(uow, ground.hand_letter), settings.tenant_deletion_grace
    return Tenants(
        tenants=ground.directory,
        founding=TenantFounding(uow, ground.directory, clock),
        tenant_settings=TenantSettings(uow, revisions, clock, grace, notices),
        deletion=Deletion(uow, revisions, ground.mailer, notices, clock, grace),
        domains=Domains(uow, NameServers(settings.dns_servers, settings.dns_timeout), clock),
        domain_release=DomainRelease(uow, ground.directory),
    )


@asynccontextmanager
async def open_administration(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Administration]:
    """What commands need: the database alone. Their events wait in the outbox for a running service to relay them."""
    async with open_database(settings, "docuchat-auth-command") as database:
        uow = UnitOfWork[Tx](database, compose, schema=SCHEMA)
        clock = clock or SystemClock()
        revisions = Revisions(uow, clock, settings.access_token_ttl)
        keys = make_keyring(settings, uow, revisions, clock)
        yield Administration(TenantDirectory(uow, revisions), keys, UserImport(uow, clock))
