"""The pytest plugin: `pytest -p docuchat_testkit.fixtures`.

Every server is started once a session, when first asked for.

| fixture | scope | gives |
|---|---|---|
| `servers` | session | `TestServers`: addresses, and the servers themselves when they may be broken |
| `breakable_servers` | session | as `servers`, but always a set that a test may kill and freeze |
| `migrated_template` | session | name of the database with roles and all migrations |
| `database` | test | `ClonedDatabase`: `.url("chat")`, `.system_url("chat")`, `.open("chat")`, `.connect()` |
| `redis_url` | test | an empty Redis database |
| `rabbitmq` | test | `TestBroker`: an empty virtual host; `.url("chat")`, `.declare("usage")`, `.admin_url` |
| `rabbitmq_url` | test | its administrator's address |
| `stub_provider` | test | `StubProviderHandle` with no rules and empty books |
| `token_mint` | test | `TokenMint`: signs tokens, serves its JWKS |
| `service_environment` | test | function: a service's name → the environment its process needs |
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

from docuchat_testkit.broker import TestBroker
from docuchat_testkit.databases import ClonedDatabase, build_template, clone, drop, run_blocking
from docuchat_testkit.identity import INTERNAL_TOKEN, TokenMint, serving_token_mint
from docuchat_testkit.provider_process import StubProviderHandle, running_stub_provider
from docuchat_testkit.servers import TestServers, local_servers, running_servers
from docuchat_testkit.vocabulary import tiktoken_cache_dir

# machines are shared: how long an example takes says nothing
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")

_REDIS_DATABASES = 16
_OF_THE_PRODUCT = ("tests/integration/", "tests/chaos/")


def pytest_configure(config: pytest.Config) -> None:
    """Point the tokenizer at its vocabularies before any test module is imported."""
    tiktoken_cache_dir()


class _OneProduct(LoadFileScheduling):  # type: ignore[misc] # has no type information
    """Whole files to each of the parallel sessions; those that need the running product all to one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return "product" if file.startswith(_OF_THE_PRODUCT) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadFileScheduling:
    """How `pytest -n` shares tests out; each session has servers of its own."""
    return _OneProduct(config, log)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Remove what products of the session keep outside of its folder, as root they do: pytest knows nothing of it."""
    yield
    from docuchat_local.accounts import sweep

    sweep(below=tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def servers() -> Iterator[TestServers]:
    """Real servers: given by the environment, else containers, else child processes."""
    with running_servers() as running:
        yield running


@pytest.fixture(scope="session")
def breakable_servers(servers: TestServers) -> Iterator[TestServers]:
    """The session's servers when they may be broken, else a set of child processes of their own."""
    if servers.postgres and servers.redis and servers.rabbitmq:
        yield servers
    else:
        with local_servers() as own:
            yield own


@pytest.fixture(scope="session")
def migrated_template(servers: TestServers) -> str:
    """The database that each test's is cloned from."""
    return run_blocking(build_template(servers.postgres_url))


@pytest.fixture
def database(servers: TestServers, migrated_template: str) -> Iterator[ClonedDatabase]:
    """A migrated, empty database of this test."""
    cloned = run_blocking(clone(servers.postgres_url, migrated_template))
    yield cloned
    run_blocking(drop(cloned))


@pytest.fixture
def redis_url(servers: TestServers) -> str:
    """An empty Redis database; sessions that share a server take different ones."""
    number = 1 + os.getpid() % (_REDIS_DATABASES - 1)
    url = urlunsplit(urlsplit(servers.redis_url)._replace(path=f"/{number}"))
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
    return url


@pytest.fixture
def rabbitmq(servers: TestServers) -> Iterator[TestBroker]:
    """A virtual host of this test."""
    url = servers.new_rabbitmq_url()
    yield TestBroker(url)
    servers.drop_rabbitmq_url(url)


@pytest.fixture
def rabbitmq_url(rabbitmq: TestBroker) -> str:
    """The address of a virtual host of this test, for its administrator."""
    return rabbitmq.admin_url


@pytest.fixture(scope="session")
def stub_provider_process() -> Iterator[StubProviderHandle]:
    """One stub provider for the session."""
    with running_stub_provider() as provider:
        yield provider


@pytest.fixture
def stub_provider(stub_provider_process: StubProviderHandle) -> StubProviderHandle:
    """The session's stub provider with no rules and empty books."""
    stub_provider_process.reset()
    return stub_provider_process


@pytest.fixture
def token_mint() -> Iterator[TokenMint]:
    """A signing key of this test, and the server of its JWKS."""
    with serving_token_mint() as mint:
        yield mint


@pytest.fixture
def service_environment(
    database: ClonedDatabase, redis_url: str, rabbitmq: TestBroker, token_mint: TokenMint, tmp_path: Path
) -> Callable[[str], dict[str, str]]:
    """Environment of a service's process, whose own queues are declared; a test adds the rest (`OPENAI_BASE_URL` …)."""

    def environment(service: str) -> dict[str, str]:
        rabbitmq.declare(service)
        return {
            "ENVIRONMENT": "test",
            "DATABASE_URL": database.url(service),
            "SYSTEM_DATABASE_URL": database.system_url(service),
            "REDIS_URL": redis_url,
            "RATE_LIMIT_PATIENCE": "5s",  # a busy machine is not an outage
            "RABBITMQ_URL": rabbitmq.url(service),
            "INTERNAL_TOKEN": INTERNAL_TOKEN,
            "AUTH_URL": token_mint.auth_url,
            "BLOB_URL": (tmp_path / "blobs").as_uri(),
            "TIKTOKEN_CACHE_DIR": str(tiktoken_cache_dir()),
        }

    return environment
