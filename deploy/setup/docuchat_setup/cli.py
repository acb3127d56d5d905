"""Roles, migrations, broker logins and topology, the first operator: what must exist before a service starts.

Every command may be repeated. Settings come from the environment; deploy/setup/README.md lists them.
"""

import asyncio
import json
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import asyncpg
import typer
from sqlalchemy.exc import DBAPIError

from docuchat_setup.errors import SetupError
from docuchat_setup.logins import (
    import_by_control,
    import_by_http,
    login_definitions,
    refused_logins,
    virtual_host_of,
)
from docuchat_setup.migrations import migrate as migrate_all
from docuchat_setup.operator import make_operator
from docuchat_setup.roles import ensure_roles
from docuchat_setup.settings import Environment
from docuchat_setup.subscribers import new_subscriber
from docuchat_setup.topology import declare_topology

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

_HOW_TO_MAKE_LOGINS = (
    "Set RABBITMQ_MANAGEMENT_URL (http://admin:password@rabbitmq:15672) or RABBITMQ_CONTROL (rabbitmqctl, or "
    "docker exec -i … rabbitmqctl)"
)

OperatorName = Annotated[str, typer.Option(help="Whose credential it is; an older one of that name is revoked.")]


@app.command()
def roles() -> None:
    """Make database roles, extensions and schemas, with the passwords given."""
    with _readable_errors():
        _roles(Environment.of_process())


@app.command()
def migrate() -> None:
    """Bring every schema to its newest revision."""
    with _readable_errors():
        _migrate(Environment.of_process())


@app.command()
def topology() -> None:
    """Make the broker's logins where they are missing, and declare exchanges, queues and the usage stream."""
    with _readable_errors():
        _topology(Environment.of_process())


@app.command()
def logins() -> None:
    """Print the broker's logins and rights as RabbitMQ definitions, for `rabbitmqctl import_definitions`."""
    with _readable_errors():
        environment = Environment.of_process()
        (url,) = environment.need("RABBITMQ_ADMIN_URL")
        _say(json.dumps(login_definitions(environment.broker_passwords(), [virtual_host_of(url)]), indent=2))


@app.command()
def operator(name: OperatorName = "operator") -> None:
    """Make a credential for the operator's endpoints and print it, once."""
    with _readable_errors():
        _say(_run(make_operator(Environment.of_process().database_url("OWNER_DATABASE_URL"), name)))


@app.command()
def subscriber(
    name: Annotated[str, typer.Option(help="The other system; its queues begin with this name and a dot.")],
    types: Annotated[str, typer.Option(help="The events that it may read, with commas between; all without.")] = "",
) -> None:
    """Make a broker login for another system that follows the events, and print its address, once.

    Again makes a new password; the old one ends.
    """
    with _readable_errors():
        environment = Environment.of_process()
        (admin_url,) = environment.need("RABBITMQ_ADMIN_URL")
        url, definitions = new_subscriber(admin_url, name, [one.strip() for one in types.split(",") if one.strip()])
        if not _import(environment, definitions):
            raise SetupError(f"AMQP cannot make logins. {_HOW_TO_MAKE_LOGINS}")
        _say(url)


@app.command(name="all")
def everything() -> None:
    """Do roles, migrate and topology."""
    with _readable_errors():
        environment = Environment.of_process()
        _roles(environment)
        _migrate(environment)
        _topology(environment)


def _roles(environment: Environment) -> None:
    _run(ensure_roles(environment.database_url("ADMIN_DATABASE_URL"), environment.role_passwords()))
    _say("roles, extensions and schemas are there")


def _migrate(environment: Environment) -> None:
    _run(migrate_all(environment.database_url("OWNER_DATABASE_URL"), _say))
    _say("all schemas are at their newest revision")


def _topology(environment: Environment) -> None:
    (url,) = environment.need("RABBITMQ_ADMIN_URL")
    passwords, limits = environment.broker_passwords(), environment.stream_limits()
    made = _import(environment, login_definitions(passwords, [virtual_host_of(url)]))
    if not made and (refused := _run(refused_logins(url, passwords))):
        raise SetupError(
            f"RabbitMQ refuses the logins of {', '.join(refused)}, and AMQP cannot make logins. {_HOW_TO_MAKE_LOGINS}, "
            "or run on the broker what this prints: python -m docuchat_setup logins | rabbitmqctl import_definitions"
        )
    for line in _run(declare_topology(url, stream=limits)):
        _say(f"notice: {line}")
    _say(f"exchanges and queues are there; the usage stream keeps {limits}")


def _import(environment: Environment, definitions: Mapping[str, Any]) -> bool:
    """Give definitions to the broker by what the operator set; False when nothing is set."""
    if management := environment.find("RABBITMQ_MANAGEMENT_URL"):
        import_by_http(management, definitions)
    elif control := environment.find("RABBITMQ_CONTROL"):
        import_by_control(control, definitions)
    else:
        return False
    return True


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


def _say(text: str) -> None:
    typer.echo(text)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except (SetupError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, DBAPIError) as fault:
        reason = str(getattr(fault, "orig", None) or fault) or type(fault).__name__
        typer.echo(f"cannot set up: {reason}", err=True)
        raise typer.Exit(1) from fault
