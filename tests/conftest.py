"""The whole product, once a session: with the stub provider behind it, and as it is with no provider at all."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import pytest

from docuchat_testkit.product import Product, User, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.servers import TestServers

_START_SECONDS = 600
_LOG_LINES = 30


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a session waits for the servers and the product."""
    for item in items:
        if item.path.parent.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_START_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure comes with what the services complained of last."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        products = {id(value): value for value in item.funcargs.values() if isinstance(value, Product)}
        for product in products.values():
            for log in sorted(product.running.logs.glob("*.log")):
                lines = log.read_text(errors="replace").splitlines()
                if troubled := [line for line in lines if re.search(r"\[(error|critical|warning)|Error\b", line)]:
                    report.sections.append((log.name, "\n".join(troubled[-_LOG_LINES:])))
    return report


@pytest.fixture(scope="session")
def running_product(
    breakable_servers: TestServers,
    stub_provider_process: StubProviderHandle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("product")
    with started_test_product(folder, breakable_servers, redis_number=1, provider=stub_provider_process) as product:
        yield product


@pytest.fixture(scope="session")
def running_embedded_product(
    breakable_servers: TestServers, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    folder = tmp_path_factory.mktemp("embedded-product")
    with started_test_product(folder, breakable_servers, redis_number=2) as product:
        yield product


@pytest.fixture
async def product(running_product: Product, stub_provider: StubProviderHandle) -> Product:
    """Every service, with the stub provider, whose books are empty."""
    await running_product.healthy()
    return running_product


@pytest.fixture
async def embedded_product(running_embedded_product: Product) -> Product:
    """Every service as a newcomer gets them: no key, embedded models."""
    await running_embedded_product.healthy()
    return running_embedded_product


@pytest.fixture
async def user(product: Product) -> AsyncIterator[User]:
    """A user of a tenant of this test alone."""
    async with product.user(await product.new_tenant()) as signed_in:
        yield signed_in
