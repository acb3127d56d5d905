"""The database made ready: roles, schemas, migrations and the first tenant; a second time in no time."""

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

from docuchat_local.environment import ServiceEnvironments
from docuchat_local.errors import SetupFailed

# in this order: chat and usage may grant on what knowledge made
SCHEMA_PACKAGES: Mapping[str, str] = {
    "auth": "docuchat_auth",
    "knowledge": "docuchat_knowledge",
    "chat": "docuchat_chat",
    "usage": "docuchat_usage",
}
_OWNER = "docuchat_owner"
_SEED_SECONDS = 60


def migrations_folder(package: str) -> Path:
    """Return the migrations of a package, without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SetupFailed(f"the package {package} is not installed; run `make .venv`")
    return Path(next(iter(spec.submodule_search_locations))) / "migrations"


def prepare_database(
    environments: ServiceEnvironments, admin_url: str, stamp: Path | None, say: Callable[[str], None]
) -> bool:
    """Bring the database to the state that the services expect; False when it was there already.

    `stamp` is a file beside the data that remembers what was applied, so that a start with nothing new does not even
    load the migration machinery; without it (servers of somebody else) the database itself is asked.
    """
    state = _wanted_state(environments)
    if stamp is not None and stamp.exists() and stamp.read_text() == state:
        return False
    asyncio.run(_migrate(environments, admin_url, say))
    _seed(environments)
    if stamp is not None:
        stamp.write_text(state)
    return True


def _wanted_state(environments: ServiceEnvironments) -> str:
    """Digest of all migrations, of the code that makes roles, and of the roles' passwords."""
    from docuchat_common.db import roles

    digest = hashlib.sha256(Path(roles.__file__).read_bytes())
    for package in SCHEMA_PACKAGES.values():
        for path in sorted(migrations_folder(package).rglob("*.py")):
            digest.update(f"{package}/{path.name}".encode())
            digest.update(path.read_bytes())
    for role in roles.role_names():
        digest.update(environments.role_password(role).encode())
    return digest.hexdigest()


async def _migrate(environments: ServiceEnvironments, admin_url: str, say: Callable[[str], None]) -> None:
    from docuchat_common.db.migrations import run_migrations
    from docuchat_common.db.roles import ensure_roles, role_names

    await ensure_roles(admin_url, {role: environments.role_password(role) for role in role_names()})
    for schema, package in SCHEMA_PACKAGES.items():
        if await run_migrations(environments.role_url(_OWNER), schema, migrations_folder(package)):
            say(f"migrated schema {schema}")


def _seed(environments: ServiceEnvironments) -> None:
    """Create tenant 1, `demo`; the command leaves an existing one as it is."""
    command = [sys.executable, "-m", "docuchat_auth", "create-tenant", "--id", "1", "--slug", "demo", "--name", "Demo"]
    done = subprocess.run(
        command,
        env=environments.for_service("auth", environments.ports["auth"]),
        capture_output=True,
        text=True,
        timeout=_SEED_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise SetupFailed(f"creating tenant 1 failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
