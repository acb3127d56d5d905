"""A login at the local product's broker for another system."""

from collections.abc import Sequence
from pathlib import Path

from docuchat_local.accounts import place_of, server_account
from docuchat_local.errors import LocalError
from docuchat_local.packages import ensure_programs
from docuchat_local.servers import control_environment
from docuchat_local.state import Ports
from docuchat_setup.errors import SetupError
from docuchat_setup.logins import import_by_control
from docuchat_setup.subscribers import new_subscriber


def make_subscriber(folder: Path, name: str, types: Sequence[str]) -> str:
    """The AMQP address of a new login at the broker that runs from `folder`. Raises LocalError."""
    account = server_account()
    ports = Ports(folder / "ports.json")
    port, epmd_port = ports.find("rabbitmq"), ports.find("epmd")
    if port is None or epmd_port is None:
        raise LocalError(
            f"no broker of ours was ever started from {folder}: `make run` starts one; for another broker there is "
            "`python -m docuchat_setup subscriber`"
        )
    program = ensure_programs().rabbitmq.resolve().with_name("rabbitmqctl")
    try:
        url, definitions = new_subscriber(f"amqp://127.0.0.1:{port}/", name, types)
        import_by_control(
            [str(program)],
            definitions,
            env=control_environment(place_of(folder / "servers", account) / "rabbitmq", epmd_port),
            cwd="/",
            user=account.uid if account else None,
            group=account.gid if account else None,
        )
    except SetupError as fault:
        raise LocalError(str(fault)) from fault
    return url
