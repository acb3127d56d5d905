"""The broker made ready: data at their own place, a login for each service, and all that the topology's table names."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

from docuchat_common.messaging import topology as table
from docuchat_local.environment import ServiceEnvironments
from docuchat_local.errors import BadEnvironment
from docuchat_setup import topology
from docuchat_setup.errors import SetupError
from docuchat_setup.logins import (
    import_by_control,
    import_by_http,
    login_definitions,
    refused_logins,
    virtual_host_of,
)
from docuchat_setup.settings import Environment

_MADE_AT = "load_definitions = "


def take_away_moved_data(folder: Path) -> bool:
    """Remove our broker's data when they were made at another path; True when that was done.

    Its quorum queues and streams name their files by absolute paths: a copy would open the files of the original, and
    what was moved finds none. The configuration of the last start, beside the data, tells where that was; one that
    does not tell it, because it was cut or edited, proves no move.
    """
    try:
        lines = (folder / "rabbitmq.conf").read_text().splitlines()
    except FileNotFoundError:
        return False
    made_at = {line.removeprefix(_MADE_AT) for line in lines if line.startswith(_MADE_AT)}
    if not made_at or f"{folder}/definitions.json" in made_at:
        return False
    aside = folder.with_name(f"{folder.name}.moved")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)  # whole or not at all: without its configuration nobody could tell the rest for a stranger's
    shutil.rmtree(aside)
    return True


def prepare_broker(
    environments: ServiceEnvironments, folder: Path, *, is_ours: bool, say: Callable[[str], None]
) -> None:
    """Bring the broker to the state that the services expect.

    Ours has its logins from its start; another's is asked for them. What is declared is declared at each start: it
    costs a moment, and brings back what a broker forgot that was killed right after it was told (RabbitMQ 3.10 does).
    """
    try:
        if not is_ours:
            _ensure_logins(environments, folder)
        limits = Environment(environments.settings).stream_limits()
        for line in asyncio.run(topology.declare_topology(environments.rabbitmq_url, stream=limits)):
            say(f"notice: {line}")
    except SetupError as fault:
        raise BadEnvironment(f"RABBITMQ_URL: {fault}") from fault


def _ensure_logins(environments: ServiceEnvironments, folder: Path) -> None:
    """Make the logins by what the operator gave, where they are missing; else say how to make them."""
    url, settings = environments.rabbitmq_url, environments.settings
    passwords = {service: environments.broker_password(service) for service in table.SERVICES}
    if not asyncio.run(refused_logins(url, passwords)):
        return
    definitions = login_definitions(passwords, [virtual_host_of(url)])
    if management := settings.get("RABBITMQ_MANAGEMENT_URL"):
        import_by_http(management, definitions)
    elif control := settings.get("RABBITMQ_CONTROL"):
        import_by_control(control, definitions)
    else:
        file = folder / "rabbitmq-logins.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps(definitions, indent=2))
        raise BadEnvironment(
            "the broker does not know the services' logins, and AMQP cannot make them: set RABBITMQ_MANAGEMENT_URL "
            "(http://admin:password@rabbitmq:15672) or RABBITMQ_CONTROL (a command that runs its rabbitmqctl), or "
            f"give {file} to the broker yourself: rabbitmqctl import_definitions {file}"
        )
