"""Where the migrations of each schema are, found without importing any service."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from docuchat_setup.errors import SetupError

# in this order: chat and usage may grant on what knowledge made
SCHEMA_PACKAGES: Mapping[str, str] = {
    "auth": "docuchat_auth",
    "knowledge": "docuchat_knowledge",
    "chat": "docuchat_chat",
    "usage": "docuchat_usage",
}


def _package_folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SetupError(f"the package {package} is not installed; run `make .venv`, or pip install it")
    return Path(next(iter(spec.submodule_search_locations)))


def migration_folders() -> dict[str, Path]:
    """The folder of migrations of each schema, in the order in which they are applied."""
    return {schema: _package_folder(package) / "migrations" for schema, package in SCHEMA_PACKAGES.items()}


def migration_files() -> list[Path]:
    """Every file that decides what the migrations make: steps, functions, and the DDL that they share."""
    steps = (
        path
        for folder in migration_folders().values()
        for path in sorted(folder.rglob("*"))
        if path.suffix in {".py", ".sql"}
    )
    shared = _package_folder("docuchat_common") / "db"
    return [shared / "ddl.py", shared / "row_guards.py", *steps]
