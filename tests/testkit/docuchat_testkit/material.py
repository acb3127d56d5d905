"""Documents for tests: the project's own, always there, and the shared data, which only some machines have."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pypdf import PdfWriter

from docuchat_testkit.book import book as made_book
from docuchat_testkit.vocabulary import repository_root

SHARED_FIXTURES = frozenset({"samples", "shared_data", "seeds"})
"""A test that asks for one of these belongs to the suite `make test-data`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what reads the shared data, so that `make test` needs nothing beside the clone."""
    for item in items:
        if SHARED_FIXTURES.intersection(getattr(item, "fixturenames", ())):
            item.add_marker("data")


@pytest.fixture(scope="session")
def documents() -> Path:
    """The project's own documents, each PDF with its text beside it as Markdown."""
    return repository_root() / "examples" / "documents"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Where the shared material lies: `SHARED_DIR`, else beside the checkout."""
    given = os.environ.get("SHARED_DIR")
    folder = Path(given) if given else repository_root().parent / "shared"
    assert folder.is_dir(), f"{folder} is missing; set SHARED_DIR to the folder that holds seeds and data"
    return folder


@pytest.fixture(scope="session")
def shared_data(shared_folder: Path) -> Path:
    """The folder with `pdf`, `documents`, `questions` and `retrieval`."""
    return shared_folder / "data"


@pytest.fixture(scope="session")
def samples(shared_data: Path) -> Path:
    """Real PDF files of many producers."""
    return shared_data / "pdf"


@pytest.fixture(scope="session")
def seeds(shared_folder: Path) -> Path:
    """The documents that the product was asked for from."""
    return shared_folder / "seeds"


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PDF of 117 pages (see `docuchat_testkit.book`), long enough to be killed in the midst of."""
    path = tmp_path_factory.mktemp("book") / "book.pdf"
    path.write_bytes(made_book())
    return path


@pytest.fixture(scope="session")
def sealed_pdf(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PDF that opens only with a password nobody has."""
    writer = PdfWriter(clone_from=documents / "handbook-en.pdf")
    writer.encrypt("nobody knows", algorithm="AES-256")
    path = tmp_path_factory.mktemp("sealed") / "sealed.pdf"
    writer.write(path)
    return path
