"""The database made ready: roles, schemas, migrations and the first tenant; a second time in no time."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from docuchat_local.environment import SETTINGS_REFUSED, ServiceEnvironments
from docuchat_local.errors import BadEnvironment, SetupFailed
from docuchat_setup.schemas import migration_files

_OWNER = "docuchat_owner"
_COMMAND_SECONDS = 180


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
    if stamp is None:
        _migrate_given(environments, admin_url, say)
    else:
        asyncio.run(_migrate(environments, admin_url, say))
    say("making tenant 1 and the place of the embeddings")
    _run_set_up_commands(environments)
    if stamp is not None:
        stamp.write_text(state)
    return True


def _wanted_state(environments: ServiceEnvironments) -> str:
    """Digest of all migrations, of the code that makes roles, of their passwords, and of the embedding settings."""
    from docuchat_setup import roles

    digest = hashlib.sha256(Path(roles.__file__).read_bytes())
    for path in migration_files():
        digest.update(str(path).encode() + path.read_bytes())
    for role in roles.role_names():
        digest.update(environments.role_password(role).encode())
    digest.update(environments.demo_signup.encode())
    for name, value in sorted(environments.settings.items()):
        if name.startswith(("EMBEDDING_", "OPENAI_")):  # they decide about the embedding space
            digest.update(f"{name}={value}".encode())
    return digest.hexdigest()


def _migrate_given(environments: ServiceEnvironments, admin_url: str, say: Callable[[str], None]) -> None:
    """Migrate a database of somebody else: that it cannot be reached or used is no defect, and told in a line."""
    from asyncpg import InterfaceError, PostgresError
    from sqlalchemy.exc import DBAPIError

    try:
        asyncio.run(_migrate(environments, admin_url, say))
    except (OSError, ValueError, PostgresError, InterfaceError, DBAPIError) as fault:
        place = urlsplit(admin_url).netloc.rpartition("@")[2]
        reason = str(getattr(fault, "orig", None) or fault) or type(fault).__name__
        raise BadEnvironment(f"the database at {place} (DATABASE_URL) cannot be used: {reason}") from fault


async def _migrate(environments: ServiceEnvironments, admin_url: str, say: Callable[[str], None]) -> None:
    from docuchat_setup.migrations import migrate
    from docuchat_setup.roles import ensure_roles, role_names

    await ensure_roles(admin_url, {role: environments.role_password(role) for role in role_names()})
    await migrate(environments.role_url(_OWNER), say)


def _run_set_up_commands(environments: ServiceEnvironments) -> None:
    """Create tenant 1, `demo`, open or closed as the gateway's address allows, and the settings' embedding space."""
    tenant = ["docuchat_auth", "create-tenant", "--id", "1", "--slug", "demo", "--name", "Demo"]
    tenant += ["--signup", environments.demo_signup]
    auth, ingest = (environments.for_service(name, environments.ports[name]) for name in ("auth", "ingest"))
    owner = {"OWNER_DATABASE_URL": environments.role_url(_OWNER)}
    with ThreadPoolExecutor() as threads:
        for done in (
            threads.submit(_run_module, tenant, auth),
            threads.submit(_run_module, ["docuchat_knowledge", "ensure-space"], ingest | owner),
        ):
            done.result()


def keep_operator_key(environments: ServiceEnvironments, file: Path, gateway_url: str) -> None:
    """Make the operator's credential at the first start; `docuchat admin` finds it, and the address, in `file`."""
    from docuchat_setup.operator import make_operator

    try:
        key = json.loads(file.read_text())["key"]
    except (OSError, ValueError, KeyError):
        key = asyncio.run(make_operator(environments.role_url(_OWNER), "local"))
    file.touch(mode=0o600)
    file.write_text(json.dumps({"server": gateway_url, "key": key}))


def _run_module(arguments: list[str], environment: Mapping[str, str]) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as fault:
        raise SetupFailed(f"`python -m {' '.join(arguments)}` did not end within {_COMMAND_SECONDS} s") from fault
    if done.returncode != 0:
        reason = (done.stderr or done.stdout).strip()[-2000:]
        if done.returncode == SETTINGS_REFUSED:
            raise BadEnvironment(f"{arguments[0]} refuses its settings:\n{reason}")
        raise SetupFailed(f"`python -m {' '.join(arguments)}` failed:\n{reason}")
