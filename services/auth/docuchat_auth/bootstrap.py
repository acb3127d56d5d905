"""The composition root: the only file that names concrete adapters."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from redis.asyncio import Redis

from docuchat_auth.adapters.mail import open_mailer
from docuchat_auth.adapters.name_servers import NameServers
from docuchat_auth.adapters.openid import OpenIdClient
from docuchat_auth.api_keys.sealing import SealedAnswers
from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.audit.service import AuditLog
from docuchat_auth.codes.delivery import CodeDelivery
from docuchat_auth.codes.domain import Account, CodeRequest, GuessBudget
from docuchat_auth.codes.pseudonyms import CodeDigests, KeyedPseudonyms
from docuchat_auth.codes.service import CodeDesk, SignIn, SignInPolicy
from docuchat_auth.codes.store import CodeStore
from docuchat_auth.derived_keys import derive_key
from docuchat_auth.domains.service import Domains
from docuchat_auth.federated_logins.admission import Admission
from docuchat_auth.federated_logins.service import FederatedSignIn, Places
from docuchat_auth.federated_logins.store import PendingSignIns
from docuchat_auth.groups.service import Groups, groups_of
from docuchat_auth.handlers import subscriptions
from docuchat_auth.identity_providers.sealing import SealedSecrets
from docuchat_auth.identity_providers.service import IdentityProviders
from docuchat_auth.invitations.domain import InvitationMail
from docuchat_auth.invitations.service import InvitationPolicy, Invitations
from docuchat_auth.lifecycle.domain import OwnersNotice
from docuchat_auth.lifecycle.service import Deletion, Notices
from docuchat_auth.lifecycle.service import Settings as TenantSettings
from docuchat_auth.links.service import Links
from docuchat_auth.logins.attempts import Attempts
from docuchat_auth.logins.service import PasswordSignIn
from docuchat_auth.mail import DeliveryQueue, M
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
from docuchat_auth.second_factors.check import SecondFactorCheck
from docuchat_auth.second_factors.devices import KnownDevices
from docuchat_auth.second_factors.service import SecondFactors
from docuchat_auth.second_factors.totp import TotpSeal
from docuchat_auth.sessions.domain import SessionPolicy
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.settings import Settings
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_auth.sweeps import forget_keys, forget_unproven, rotate_keys, sweep
from docuchat_auth.tenant_erasure import make_erasure, start_erasures
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.transaction import Tx, compose
from docuchat_auth.user_erasures.service import UserErasures
from docuchat_auth.users.domain import User
from docuchat_auth.users.service import Profiles, UserDirectory
from docuchat_common.background import Background
from docuchat_common.clock import Clock, SystemClock
from docuchat_common.db import Database, UnitOfWork, load_queries
from docuchat_common.egress import open_egress
from docuchat_common.exporting import Exporter
from docuchat_common.http.health import Check
from docuchat_common.http.identity import TokenVerifier
from docuchat_common.http.refusals import Refusals
from docuchat_common.idempotency import Idempotency
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_common.messaging.consumer import Consumer
from docuchat_common.messaging.dead_letters import DeadLetterOffice
from docuchat_common.messaging.relay import Relay
from docuchat_common.rate_limits import RateLimiter
from docuchat_common.redis import check_redis, open_redis

SCHEMA = "auth"
EXPORTED = (
    "tenant", "domains", "identity_providers", "users", "identities", "external_ids", "second_factors", "passkeys",
    "sessions", "groups", "invitations", "api_keys", "audit",
)  # fmt: skip
_DRAIN = timedelta(seconds=10)
_SUCCESSOR = "refresh-token-successor"


@dataclass(frozen=True, slots=True)
class Container:
    """What the routes work with."""

    settings: Settings
    verifier: TokenVerifier
    tenants: TenantDirectory
    tenant_settings: TenantSettings
    deletion: Deletion
    sign_in: SignIn
    password_sign_in: PasswordSignIn
    passwords: Passwords
    second_factors: SecondFactors
    passkeys: Passkeys
    registrations: Registrations
    sessions: Sessions
    revisions: Revisions
    api_keys: ApiKeys
    sealed_answers: SealedAnswers
    profiles: Profiles
    users: UserDirectory
    members: Members
    user_erasures: UserErasures
    invitations: Invitations
    groups: Groups
    domains: Domains
    identity_providers: IdentityProviders
    federated_sign_in: FederatedSignIn
    links: Links
    provisioning: Provisioning
    keys: KeyRing
    operators: Operators
    founding: TenantFounding
    audit: AuditLog
    refusals: Refusals
    dead_letters: DeadLetterOffice
    sign_in_reset: SignInReset
    domain_release: DomainRelease
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


def make_keyring(settings: Settings, uow: UnitOfWork[Tx], revisions: Revisions, clock: Clock) -> KeyRing:
    """The key ring of these settings."""
    return KeyRing(
        uow,
        SealedKeyForge(settings.jwt_secret.get_secret_value()),
        revisions,
        clock,
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        algorithm=settings.algorithm,
        token_lifetime=settings.access_token_ttl,
        publish_ahead=settings.signing_key_publish_ahead,
    )


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
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(_open_database(settings, "docuchat-auth"))
        broker = await stack.enter_async_context(Broker.connect(settings.rabbitmq_url, name="docuchat-auth"))
        relay = Relay(database, SCHEMA, Publisher(broker))
        uow = UnitOfWork[Tx](database, compose, schema=SCHEMA, on_events_committed=relay.wake)

        client = await stack.enter_async_context(open_redis(settings.redis_url, client_name="docuchat-auth"))
        secret = settings.jwt_secret.get_secret_value()
        pseudonyms = KeyedPseudonyms(secret)
        budget = GuessBudget(settings.code_guesses, settings.code_failures_per_hour)

        revisions = Revisions(uow, clock, settings.access_token_ttl)
        keys = make_keyring(settings, uow, revisions, clock)
        await keys.ensure_key()
        queue = DeliveryQueue[CodeRequest]("codes", settings.mail_queue_size)
        letters = DeliveryQueue[InvitationMail | OwnersNotice]("letters", settings.mail_queue_size)
        mailer = open_mailer(settings.smtp_url, settings.mail_from, settings.invitation_page)
        delivery = CodeDelivery(uow, mailer, settings.code_ttl)
        limiter = await stack.enter_async_context(
            RateLimiter.open(client, name="auth:limit", fail_open=False, patience=timedelta(seconds=1))
        )
        check = SecondFactorCheck(
            TotpSeal(secret), limiter, KnownDevices(client), settings.otp_failures, settings.failures_per_network, clock
        )
        sessions = Sessions(
            uow,
            keys,
            revisions,
            clock,
            limiter,
            SessionPolicy(settings.refresh_token_ttl, settings.session_longest, settings.refreshes_per_session),
            derive_key(secret, _SUCCESSOR),
            groups_of,
            check,
        )
        tenants = TenantDirectory(uow, revisions)
        # a local run reads codes from the log: there they are before the answer is
        hand_over = delivery.deliver if settings.smtp_url is None else queue.offer
        hand_letter = mailer.send_letter if settings.smtp_url is None else letters.offer
        store = CodeStore(client, CodeDigests(secret), pseudonyms, budget)
        desk = CodeDesk(uow, store, limiter, pseudonyms, hand_over, make_policy(settings))
        pool = await stack.enter_async_context(PasswordPool.open(settings.password_threads, settings.password_room))
        password_sign_in = PasswordSignIn(
            uow,
            sessions,
            pool,
            Attempts(client, limiter, budget, settings.failures_per_network),
            pseudonyms,
            clock,
            settings.login_refused_after,
        )
        forget_codes: ForgetGuesses = partial(_forget_codes, store, check.devices)
        members = Members(uow, sessions, revisions, [forget_codes, password_sign_in.forget_removed])
        passwords = Passwords(uow, pool, desk, sessions, limiter, clock, settings.passwords_per_address)
        invitations = Invitations(
            uow,
            sessions,
            passwords,
            limiter,
            pseudonyms,
            hand_letter,
            clock,
            InvitationPolicy(settings.invitation_ttl, settings.invitations_per_tenant, settings.invitations_per_email),
        )
        # its own keys as they are, not over HTTP: it would ask before it listens
        verifier = await stack.enter_async_context(TokenVerifier.open(settings, published=keys.published))

        providers, federated_sign_in = await stack.enter_async_context(
            _open_federation(settings, uow, tenants, sessions, revisions, client, clock)
        )
        audit = AuditLog(uow)
        notices, grace = Notices(uow, hand_letter), settings.tenant_deletion_grace
        tenant_settings = TenantSettings(uow, revisions, clock, grace, notices)
        deletion, people = (
            Deletion(uow, revisions, mailer, notices, clock, grace),
            UserErasures(uow, members, audit, clock),
        )
        dead_letters = DeadLetterOffice(broker, SCHEMA)
        consumer = Consumer(broker, subscriptions(audit, deletion, people))
        background = await stack.enter_async_context(Background())
        background.start("relay", relay.run)
        sweep(
            background,
            {
                "refresh_tokens": sessions.forget_expired,
                "idempotency_keys": partial(forget_keys, uow),
                "revisions": revisions.forget_expired,
                "invitations": partial(invitations.forget_expired, settings.expired_invitations_kept),
                "unproven_accounts": partial(forget_unproven, members, clock, settings.unproven_accounts_kept),
                "audit": partial(audit.forget, settings.audit_retention),
                "signing_keys": partial(rotate_keys, keys, settings.signing_key_rotation),
            },
        )
        start_erasures(background, tenant_settings, deletion, make_erasure(uow, audit, client, dead_letters), people)
        _start_mail(stack, background, letters, mailer.send_letter, 1)
        _start_mail(stack, background, queue, delivery.deliver, settings.mail_workers)
        consumer.start()
        stack.push_async_callback(consumer.stop, settings.shutdown_grace)
        second_factors = SecondFactors(uow, check, sessions, revisions, clock, settings.totp_issuer)
        yield Container(
            settings=settings,
            verifier=verifier,
            tenants=tenants,
            tenant_settings=tenant_settings,
            deletion=deletion,
            sign_in=SignIn(uow, sessions, desk, clock, first_comer_owns=settings.first_comer_owns),
            password_sign_in=password_sign_in,
            passwords=passwords,
            second_factors=second_factors,
            passkeys=Passkeys(
                uow,
                RelyingParty(settings.webauthn_rp_id, settings.totp_issuer, settings.webauthn_origins),
                Challenges(client, secret, clock),
                sessions,
                second_factors,
                clock,
            ),
            registrations=Registrations(
                uow,
                tenants,
                sessions,
                passwords,
                desk,
                limiter,
                clock,
                RegistrationPolicy(
                    settings.self_service_tenants, settings.first_comer_owns, settings.registrations_per_address
                ),
            ),
            sessions=sessions,
            revisions=revisions,
            api_keys=ApiKeys(uow, keys, revisions, clock),
            sealed_answers=SealedAnswers(secret),
            profiles=Profiles(uow),
            users=UserDirectory(uow),
            members=members,
            user_erasures=people,
            invitations=invitations,
            groups=Groups(uow, revisions, clock),
            domains=Domains(uow, NameServers(settings.dns_servers, settings.dns_timeout), clock),
            identity_providers=providers,
            federated_sign_in=federated_sign_in,
            links=Links(uow, sessions, clock),
            provisioning=Provisioning(uow, sessions, revisions, clock),
            keys=keys,
            operators=Operators(uow, keys, limiter, clock),
            founding=TenantFounding(uow, tenants, clock),
            audit=audit,
            refusals=Refusals(uow),
            dead_letters=dead_letters,
            sign_in_reset=SignInReset(uow, sessions, [forget_codes, password_sign_in.forget_failures]),
            domain_release=DomainRelease(uow, tenants),
            exporter=Exporter(uow, load_queries("docuchat_auth", "exports.sql"), EXPORTED),
            idempotency=Idempotency(uow),
            checks={"postgres": database.check, "redis": partial(check_redis, client)},
            # events wait in the outbox: no request needs the broker
            watched={"rabbitmq": consumer.check},
            background=background.names,
        )


@asynccontextmanager
async def _open_federation(
    settings: Settings,
    uow: UnitOfWork[Tx],
    tenants: TenantDirectory,
    sessions: Sessions,
    revisions: Revisions,
    client: Redis,
    clock: Clock,
) -> AsyncIterator[tuple[IdentityProviders, FederatedSignIn]]:
    secret, policy = settings.jwt_secret.get_secret_value(), settings.egress_policy()
    client_secrets = SealedSecrets(secret)
    async with open_egress(policy) as egress:
        yield (
            IdentityProviders(uow, sessions, client_secrets, policy, clock),
            FederatedSignIn(
                uow,
                tenants,
                sessions,
                OpenIdClient(egress, policy, client_secrets, clock),
                PendingSignIns(client, secret),
                Admission(sessions, revisions, clock),
                clock,
                Places(settings.public_url, settings.sign_in_return_urls),
            ),
        )


def _start_mail(
    stack: AsyncExitStack,
    background: Background,
    queue: DeliveryQueue[M],
    deliver: Callable[[M], Awaitable[None]],
    workers: int,
) -> None:
    for number in range(workers):
        background.start(f"{queue.name}.delivery.{number}", partial(queue.deliver, deliver))
    stack.push_async_callback(queue.drain, _DRAIN)


async def _forget_codes(codes: CodeStore, devices: KnownDevices, user: User) -> int:
    return await devices.forget(user) + (await codes.forget(Account(user.tenant_id, user.email)) if user.email else 0)


@asynccontextmanager
async def open_administration(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Administration]:
    """What commands need: the database alone. Their events wait in the outbox for a running service to relay them."""
    async with _open_database(settings, "docuchat-auth-command") as database:
        uow = UnitOfWork[Tx](database, compose, schema=SCHEMA)
        clock = clock or SystemClock()
        revisions = Revisions(uow, clock, settings.access_token_ttl)
        keys = make_keyring(settings, uow, revisions, clock)
        yield Administration(TenantDirectory(uow, revisions), keys, UserImport(uow, clock))


def _open_database(settings: Settings, application_name: str) -> AbstractAsyncContextManager[Database]:
    return Database.open(
        settings.database_url,
        settings.system_database_url,
        application_name=application_name,
        max_size=settings.database_pool_size,
    )
