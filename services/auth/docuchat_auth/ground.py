"""What every group of use cases stands on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from redis.asyncio import Redis

from docuchat_auth.adapters.mail import LogMailer, SmtpMailer, open_mailer
from docuchat_auth.codes.delivery import CodeDelivery
from docuchat_auth.codes.domain import Account, CodeRequest, GuessBudget
from docuchat_auth.codes.pseudonyms import CodeDigests, KeyedPseudonyms
from docuchat_auth.codes.store import CodeStore
from docuchat_auth.groups.service import groups_of
from docuchat_auth.invitations.domain import InvitationMail
from docuchat_auth.lifecycle.domain import OwnersNotice
from docuchat_auth.mail import DeliveryQueue
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.second_factors.check import SecondFactorCheck
from docuchat_auth.second_factors.devices import KnownDevices
from docuchat_auth.second_factors.totp import TotpSeal
from docuchat_auth.sessions.domain import SessionPolicy
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.settings import Settings
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.transaction import Tx
from docuchat_auth.users.domain import User
from docuchat_common.clock import Clock
from docuchat_common.db import Database, UnitOfWork
from docuchat_common.rate_limits import RateLimiter
from docuchat_common.redis import open_redis
from docuchat_common.sealing import derive_key

SCHEMA = "auth"
_SUCCESSOR = "refresh-token-successor"


@dataclass(frozen=True, slots=True)
class Ground:
    """What every group of use cases stands on."""

    settings: Settings
    secret: str
    clock: Clock
    uow: UnitOfWork[Tx]
    redis: Redis
    limiter: RateLimiter
    pseudonyms: KeyedPseudonyms
    budget: GuessBudget
    codes: CodeStore
    revisions: Revisions
    keys: KeyRing
    check: SecondFactorCheck
    sessions: Sessions
    directory: TenantDirectory
    mailer: LogMailer | SmtpMailer
    delivery: CodeDelivery
    code_queue: DeliveryQueue[CodeRequest]
    letter_queue: DeliveryQueue[InvitationMail | OwnersNotice]

    @property
    def hand_code(self) -> Callable[[CodeRequest], Awaitable[None]]:
        """Takes a code on its way; where mail is read from the log, it is there before the answer is."""
        return self.delivery.deliver if self.settings.smtp_url is None else self.code_queue.offer

    @property
    def hand_letter(self) -> Callable[[InvitationMail | OwnersNotice], Awaitable[None]]:
        """Takes a letter on its way, likewise."""
        return self.mailer.send_letter if self.settings.smtp_url is None else self.letter_queue.offer

    async def forget_codes(self, user: User) -> int:
        """Forget known devices, and what was counted of guesses at the user's codes; how many keys."""
        forgotten = await self.check.devices.forget(user)
        return forgotten + (await self.codes.forget(Account(user.tenant_id, user.email)) if user.email else 0)


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


@asynccontextmanager
async def open_ground(settings: Settings, uow: UnitOfWork[Tx], clock: Clock) -> AsyncIterator[Ground]:
    """With a signing key, and a connection to Redis."""
    secret = settings.jwt_secret.get_secret_value()
    async with (
        open_redis(settings.redis_url, client_name="docuchat-auth") as redis,
        RateLimiter.open(redis, name="auth:limit", fail_open=False, patience=timedelta(seconds=1)) as limiter,
    ):
        revisions = Revisions(uow, clock, settings.access_token_ttl)
        keys = make_keyring(settings, uow, revisions, clock)
        await keys.ensure_key()
        pseudonyms = KeyedPseudonyms(secret)
        budget = GuessBudget(settings.code_guesses, settings.code_failures_per_hour)
        check = SecondFactorCheck(
            TotpSeal(secret), limiter, KnownDevices(redis), settings.otp_failures, settings.failures_per_network, clock
        )
        mailer = open_mailer(settings.smtp_url, settings.mail_from, settings.invitation_page)
        yield Ground(
            settings=settings,
            secret=secret,
            clock=clock,
            uow=uow,
            redis=redis,
            limiter=limiter,
            pseudonyms=pseudonyms,
            budget=budget,
            codes=CodeStore(redis, CodeDigests(secret), pseudonyms, budget),
            revisions=revisions,
            keys=keys,
            check=check,
            sessions=Sessions(
                uow,
                keys,
                revisions,
                clock,
                limiter,
                SessionPolicy(settings.refresh_token_ttl, settings.session_longest, settings.refreshes_per_session),
                derive_key(secret, _SUCCESSOR),
                groups_of,
                check,
            ),
            directory=TenantDirectory(uow, revisions),
            mailer=mailer,
            delivery=CodeDelivery(uow, mailer, settings.code_ttl),
            code_queue=DeliveryQueue("codes", settings.mail_queue_size),
            letter_queue=DeliveryQueue("letters", settings.mail_queue_size),
        )


def open_database(settings: Settings, application_name: str) -> AbstractAsyncContextManager[Database]:
    """The database of these settings."""
    return Database.open(
        settings.database_url,
        settings.system_database_url,
        application_name=application_name,
        max_size=settings.database_pool_size,
    )
