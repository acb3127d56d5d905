"""A clock to turn, the use cases on real servers, and the service as a process."""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from docuchat_auth.api_keys.domain import ApiKey
from docuchat_auth.app import create_app
from docuchat_auth.bootstrap import open_administration
from docuchat_auth.codes.delivery import CodeDelivery
from docuchat_auth.codes.domain import CodeRequest, GuessBudget
from docuchat_auth.codes.pseudonyms import CodeDigests, KeyedPseudonyms
from docuchat_auth.codes.service import CodeDesk, SignIn, SignInPolicy
from docuchat_auth.codes.store import CodeStore
from docuchat_auth.groups.service import Groups, groups_of
from docuchat_auth.members.service import Members
from docuchat_auth.operators.service import TenantFounding
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.second_factors.check import SecondFactorCheck
from docuchat_auth.second_factors.devices import KnownDevices
from docuchat_auth.second_factors.service import SecondFactors
from docuchat_auth.second_factors.totp import TotpSeal
from docuchat_auth.sessions.domain import SessionPolicy
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.settings import Settings
from docuchat_auth.signing_keys.domain import SigningAlgorithm
from docuchat_auth.signing_keys.sealing import SealedKeyForge
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_auth.tenants.domain import INVITED_ONLY, OPEN, Tenant
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.transaction import Tx, compose
from docuchat_auth.users.domain import Email, Newcomer, User
from docuchat_auth.users.service import Profiles
from docuchat_common.contracts.permissions import Role
from docuchat_common.db import UnitOfWork
from docuchat_common.events.catalogue import parse_event
from docuchat_common.events.envelope import Event
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.ids import uuid7
from docuchat_common.rate_limits import RateLimiter, parse_rates
from docuchat_common.redis import open_redis
from docuchat_common.sealing import derive_key
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.documented import documented
from docuchat_testkit.eventually import SLOWLY, eventually
from docuchat_testkit.forked import start_module

from .fakes import Mailbox

SECRET = "a-secret-of-the-tests-that-is-long-enough"
OPERATOR = Caller(NO_TENANT, "operator", uuid7())
JSON = {"Content-Type": "application/json"}
REQUEST, VERIFY, REFRESH, LOGOUT = (f"/v1/auth/{name}" for name in ("request-code", "verify-code", "refresh", "logout"))


@dataclass
class ManualClock:
    """A clock that stands still until it is moved."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def now(self) -> datetime:
        return self.moment

    def advance(self, **time: float) -> None:
        self.moment += timedelta(**time)

    def session_id(self) -> UUID:
        """Of a session that begins now."""
        return UUID(int=int(self.moment.timestamp() * 1000) << 80 | uuid7().int & (1 << 80) - 1)


@dataclass
class World:
    """The use cases on a database and a Redis of the test; only the mail server is a fake."""

    clock: ManualClock
    uow: UnitOfWork[Tx]
    mailbox: Mailbox
    codes: CodeStore
    keys: KeyRing
    tenants: TenantDirectory
    founding: TenantFounding
    revisions: Revisions
    sessions: Sessions
    sign_in: SignIn
    delivery: CodeDelivery
    profiles: Profiles
    groups: Groups
    members: Members
    second_factors: SecondFactors
    admin: asyncpg.Connection
    requests: list[CodeRequest]

    async def tenant(self, slug: str = "demo", *, is_open: bool = True) -> Tenant:
        return (
            await self.tenants.create(slug, slug.title(), tenant_id=None, signup=OPEN if is_open else INVITED_ONLY)
        )[0]

    async def ask_with_challenge(
        self, tenant: Tenant, email: str, address: str = "192.0.2.1", challenge: str | None = None
    ) -> tuple[str, str]:
        """Request a code; return it, whether or not it would be mailed, and the challenge."""
        answer = await self.sign_in.request_code(tenant.id, Email(email), address, challenge)
        return self.requests[-1].code, answer.text

    async def ask(self, tenant: Tenant, email: str, address: str = "192.0.2.1") -> str:
        """As `ask_with_challenge`, for a client that knows of no challenges."""
        return (await self.ask_with_challenge(tenant, email, address))[0]

    async def sign_in_as(self, tenant: Tenant, email: str) -> Any:
        return await self.sign_in.verify_code(tenant.id, Email(email), await self.ask(tenant, email), "192.0.2.1")

    async def new_admin(self, tenant: Tenant) -> Caller:
        """Somebody who has just signed in as an admin."""
        newcomer = Newcomer(email=Email(f"{uuid7().hex}@admins.example"))
        async with self.uow(tenant.id) as tx:
            user = await tx.users.register(tenant.id, newcomer, self.clock.now(), may_own=False, role=Role.ADMIN)
        assert user is not None
        return Caller(tenant.id, "user", user.id, role="admin", session_id=self.clock.session_id())

    async def service_key(self, tenant: Tenant) -> Caller:
        """A key of the tenant's own, as an admin."""
        scopes = frozenset({"users.manage", "directory.sync"})
        key = ApiKey(tenant.id, uuid7(), "program", None, Role.ADMIN, scopes, (), uuid7(), self.clock.now(), None)
        async with self.uow(tenant.id) as tx:
            await tx.api_keys.add(key)
        return Caller(tenant.id, "key", key.id, role="admin")

    async def users(self) -> list[User]:
        """Every user of every tenant."""
        users = []
        for row in await self.admin.fetch("SELECT tenant_id, id FROM auth.users ORDER BY created_at, id"):
            async with self.uow(row["tenant_id"]) as tx:
                user = await tx.users.find_by_id(row["tenant_id"], row["id"])
                assert user is not None
                users.append(user)
        return users

    async def kids(self) -> set[str]:
        """The stored signing keys."""
        async with self.uow.system() as tx:
            return {key.kid for key in await tx.signing_keys.list_all()}

    async def events(self) -> list[Event]:
        """What waits in the outbox, in order."""
        rows = await self.admin.fetch("SELECT body FROM auth.outbox ORDER BY id")
        return [parse_event(row["body"]) for row in rows]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def make_world(
    clock: ManualClock, database: ClonedDatabase, redis_url: str
) -> AsyncIterator[Callable[..., Awaitable[World]]]:
    """Build the use cases; keywords replace limits of the policy."""
    async with AsyncExitStack() as stack:
        pools = await stack.enter_async_context(database.open("auth"))
        admin = await stack.enter_async_context(database.connect())
        client = await stack.enter_async_context(open_redis(redis_url, client_name="test-auth", timeout=SLOWLY))
        limiter = await stack.enter_async_context(
            RateLimiter.open(client, name="auth:limit", fail_open=False, patience=timedelta(seconds=60))
        )

        async def make(*, publish_ahead: timedelta = timedelta(minutes=10), **limits: str) -> World:
            rates = {
                "send_per_browser": "6/10m",
                "send_per_email": "20/10m",
                "send_per_email_and_address": "12/10m",
                "send_per_address": "1000/m",
                "verify_per_address": "1000/m",
                **limits,
            }
            policy = SignInPolicy(
                code_lifetime=timedelta(minutes=10), **{name: parse_rates(rate) for name, rate in rates.items()}
            )
            uow = UnitOfWork(pools, compose, schema="auth")
            revisions = Revisions(uow, clock, timedelta(hours=1))
            keys = KeyRing(
                uow,
                SealedKeyForge(SECRET),
                revisions,
                clock,
                issuer="docuchat",
                audience="docuchat",
                algorithm=SigningAlgorithm.EDDSA,
                token_lifetime=timedelta(hours=1),
                publish_ahead=publish_ahead,
            )
            await keys.ensure_key()
            pseudonyms = KeyedPseudonyms(SECRET)
            codes = CodeStore(client, CodeDigests(SECRET), pseudonyms, GuessBudget(5, 100))
            successor_key = derive_key(SECRET, "refresh-token-successor")
            devices, failures = KnownDevices(client), parse_rates("10/h;40/d")
            check = SecondFactorCheck(TotpSeal(SECRET), limiter, devices, failures, parse_rates("12/h"), clock)
            lasting = SessionPolicy(timedelta(days=30), timedelta(days=90), parse_rates("60/m"))
            sessions = Sessions(uow, keys, revisions, clock, limiter, lasting, successor_key, groups_of, check)
            requests: list[CodeRequest] = []

            async def keep(request: CodeRequest) -> None:
                requests.append(request)

            desk = CodeDesk(uow, codes, limiter, pseudonyms, keep, policy)
            mailbox = Mailbox()
            tenants = TenantDirectory(uow, revisions)
            return World(
                clock,
                uow,
                mailbox,
                codes,
                keys,
                tenants,
                TenantFounding(uow, tenants, clock),
                revisions,
                sessions,
                SignIn(uow, sessions, desk, clock, first_comer_owns=True),
                CodeDelivery(uow, mailbox, timedelta(minutes=10)),
                Profiles(uow),
                Groups(uow, revisions, clock),
                Members(uow, sessions, revisions),
                SecondFactors(uow, check, sessions, revisions, clock, "DocuChat"),
                admin,
                requests,
            )

        yield make


@dataclass
class RunningAuth:
    """The service as a process, its environment and its log."""

    url: str
    environment: Mapping[str, str]
    log_file: Path
    process: BaseProcess
    http: httpx2.AsyncClient
    owner_database_url: str

    def log(self) -> str:
        return self.log_file.read_text()

    def command(self, *arguments: str, expect: int = 0) -> str:
        """Runs the command line in the service's environment; what it printed."""
        with NamedTemporaryFile("r") as printed:
            process = start_module("docuchat_auth", *arguments, environment=self.environment, output=Path(printed.name))
            process.join(60)
            told = printed.read()
        assert process.exitcode == expect, told
        return told

    async def create_tenant(self, slug: str, *, tenant_id: int | None = None, is_open: bool = True) -> None:
        """Does what the command does, without the start of a process."""
        values = {name if name == "JWT_SECRET" else name.lower(): value for name, value in self.environment.items()}
        async with open_administration(Settings.model_validate(values)) as administration:
            await administration.tenants.create(
                slug, slug.title(), tenant_id=tenant_id, signup=OPEN if is_open else INVITED_ONLY
            )

    async def post(
        self, path: str, body: Mapping[str, Any], tenant: str | None = "1", **headers: str
    ) -> httpx2.Response:
        named = {} if tenant is None else {"X-Tenant-ID": tenant}
        return await self.http.post(path, json=body, headers={**named, **headers})

    async def code_of(self, email: str, tenant: str = "1") -> str:
        """Requests a code and reads it from the log."""
        pattern = re.compile(rf"auth\.code_issued code=(\d{{6}}) email={re.escape(email)}\b")
        before = len(pattern.findall(self.log()))
        answer = await self.post("/v1/auth/request-code", {"email": email}, tenant)
        assert answer.status_code == 202, answer.text

        def issued() -> str:
            found = pattern.findall(self.log())
            assert len(found) > before
            return found[-1]

        return await eventually(issued)

    async def tokens_of(self, email: str, tenant: str = "1") -> dict[str, Any]:
        """Signs in."""
        code = await self.code_of(email, tenant)
        answer = await self.post("/v1/auth/verify-code", {"email": email, "code": code}, tenant)
        assert answer.status_code == 200, answer.text
        tokens: dict[str, Any] = answer.json()
        return tokens

    async def query(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Looks at the tables as the administrator."""
        connection = await asyncpg.connect(self.owner_database_url)
        try:
            return await connection.fetch(sql, *arguments)
        finally:
            await connection.close()


RunAuth = Callable[..., AbstractAsyncContextManager[RunningAuth]]


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06d}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def auth_environment(service_environment: Callable[[str], dict[str, str]]) -> dict[str, str]:
    """What a process of auth needs, generous to one address because every test has the same."""
    port = str(free_port())
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", "HOME", "LANG") if name in os.environ}
    return {
        **kept,
        **service_environment("auth"),
        "ENVIRONMENT": "local",
        "LOG_FORMAT": "json",
        "PORT": port,
        "AUTH_URL": "http://127.0.0.1:9",  # nobody is there: auth reads its own keys
        "JWT_SECRET": SECRET,
        "CODE_SENDS_PER_ADDRESS": "10000/minute",
        "CODE_TRIES_PER_ADDRESS": "10000/minute",
        "CODE_SENDS_PER_EMAIL_AND_ADDRESS": "10000/minute",
    }


@pytest.fixture
def run_auth(auth_environment: dict[str, str], database: Any, tmp_path: Path) -> RunAuth:
    """Starts the service with tenant 1 "demo"; keywords are more environment."""

    @asynccontextmanager
    async def run(**more: str) -> AsyncIterator[RunningAuth]:
        environment = {**auth_environment, **more}
        log_file = tmp_path / f"auth-{environment['PORT']}.log"
        process = start_module("docuchat_auth", environment=environment, output=log_file)
        url = f"http://127.0.0.1:{environment['PORT']}"
        hooks = {"response": [documented(create_app, Settings).of_httpx]}
        limits = httpx2.Limits(max_connections=60)
        async with httpx2.AsyncClient(base_url=url, timeout=30, limits=limits, event_hooks=hooks) as http:
            auth = RunningAuth(
                url, environment, log_file, process, http, database.admin_url.rsplit("/", 1)[0] + f"/{database.name}"
            )
            try:
                await auth.create_tenant("demo", tenant_id=1)

                async def ready() -> bool:
                    assert process.is_alive(), auth.log()
                    return (await http.get("/readyz")).status_code == 200

                await eventually(ready, timeout=60)
                yield auth
            finally:
                process.terminate()
                await asyncio.to_thread(process.join, 20)
                has_ended = not process.is_alive()
                process.kill()
                process.join()
                assert has_ended, "the service outlived SIGTERM by 20 s"

    return run


@pytest.fixture
async def auth(run_auth: RunAuth) -> AsyncIterator[RunningAuth]:
    async with run_auth() as running:
        yield running
