"""The pytest plugin: `pytest -p docuchat_testkit.fixtures`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from docuchat_testkit.provider_process import StubProviderHandle, running_stub_provider
from docuchat_testkit.vocabulary import tiktoken_cache_dir


def pytest_configure(config: pytest.Config) -> None:
    """Point the tokenizer at its vocabularies before any test module is imported."""
    tiktoken_cache_dir()


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
