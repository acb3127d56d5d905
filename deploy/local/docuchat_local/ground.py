"""What services stand on: accepted settings, servers, addresses and secrets; laid before anything is started."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from docuchat_local.acceptance import require_accepted
from docuchat_local.accounts import own_folder, service_account
from docuchat_local.backing import BackingServers, make_servers
from docuchat_local.broker import prepare_broker
from docuchat_local.environment import (
    ROOT,
    ExternalServers,
    ServiceEnvironments,
    blob_url,
    demo_signup,
    external_servers,
    model_provider,
    require_reachable,
)
from docuchat_local.errors import BadEnvironment
from docuchat_local.processes import Account, Warden
from docuchat_local.services import GATEWAY, SERVICES
from docuchat_local.state import Ports, Secrets
from docuchat_local.vocabulary import prepare_vocabulary

_HIGHEST_PORT = 65_535
_TO_COME = ExternalServers("postgresql://127.0.0.1/docuchat", "redis://127.0.0.1:6379/0", "amqp://127.0.0.1:5672/")
"""In the place of our own servers, while settings are looked at."""
_WHO_MAY_COME = {
    "open": "tenant 1, demo, is open: whoever reaches the gateway may join, and only this machine does",
    "invite": "tenant 1, demo, takes invited people only: HOST lets other machines reach the gateway",
}


@dataclass(frozen=True, slots=True)
class Ground:
    """What services stand on: servers, addresses, secrets; prepared, not yet started."""

    folder: Path
    warden: Warden
    ports: Ports
    servers: BackingServers | None
    admin_url: str
    environments: ServiceEnvironments
    listening: Mapping[str, int]
    """Port of each service, on which we listen already."""
    account: Account | None

    @property
    def stamp(self) -> Path | None:
        """Where our own database remembers what was applied to it: inside its data, so that it goes with them."""
        return self.servers.postgres.process.spec.folder / "data" / "docuchat.prepared" if self.servers else None


def lay_ground(
    stack: ExitStack, folder: Path, settings: Mapping[str, str], *, fast: bool, say: Callable[[str], None]
) -> Ground:
    say(_WHO_MAY_COME[demo_signup(settings)])
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    external = external_servers(settings)
    warden = stack.enter_context(Warden(folder / "lock"))
    (folder / "logs").mkdir(exist_ok=True)
    ports, secrets = Ports(folder / "ports.json"), Secrets(folder / "secrets.json")
    account = service_account(folder, say)
    environments = ServiceEnvironments(
        settings=settings,
        secrets=secrets,
        postgres_url=(external or _TO_COME).postgres_admin_url,
        redis_url=(external or _TO_COME).redis_url,
        rabbitmq_url=(external or _TO_COME).rabbitmq_url,
        blob_url=blob_url(settings, folder),
        spool=folder / "spool",
        vocabulary=ROOT / ".local" / "tiktoken",
        ports={entry.service: entry.port for entry in SERVICES},
        home=folder / "home" if account else None,
    )
    require_accepted(environments, folder / "settings.accepted")
    if external:
        require_reachable("REDIS_URL", external.redis_url, 6379)
        require_reachable("RABBITMQ_URL", external.rabbitmq_url, 5672)
    listening = {
        entry.service: listen(warden, ports, entry.process, None if fast else entry.port)
        for entry in SERVICES
        if entry is not GATEWAY
    }
    listening[GATEWAY.service] = _listen_publicly(warden, ports, settings, fast=fast, say=say)
    vocabulary = prepare_vocabulary(
        environments.vocabulary, ROOT / "deploy" / "local" / "vocabulary.lock", settings, say=say
    )
    servers = None if external else make_servers(folder, warden, ports, secrets, fast=fast, say=say)
    given = external or servers
    assert given is not None
    for private in ("blobs", "spool", "home"):
        own_folder(folder / private, account)
    environments = replace(
        environments,
        postgres_url=given.postgres_admin_url,
        redis_url=given.redis_url,
        rabbitmq_url=given.rabbitmq_url,
        vocabulary=vocabulary,
        ports=listening,
    )
    say(model_provider(settings))
    return Ground(folder, warden, ports, servers, given.postgres_admin_url, environments, listening, account)


def start_broker(ground: Ground, say: Callable[[str], None]) -> None:
    """Start our own broker, if it is ours, and make ready what services expect of it; they wait for it meanwhile."""
    is_ours = ground.servers is not None
    make_ready = partial(prepare_broker, ground.environments, ground.folder, is_ours=is_ours, say=say)
    if ground.servers:
        ground.servers.rabbitmq.make_ready = make_ready
        ground.servers.rabbitmq.start()
    else:
        make_ready()


def listen(warden: Warden, ports: Ports, name: str, preferred: int | None = None, host: str = "127.0.0.1") -> int:
    """Listen for `name` on the preferred port, else on its remembered one, else on any; the port is remembered."""
    while True:
        port = ports.claim(name, preferred)
        if warden.listen(name, host, port):
            return port
        ports.forget(name)  # somebody took it in this moment
        preferred = None


def _listen_publicly(
    warden: Warden, ports: Ports, settings: Mapping[str, str], *, fast: bool, say: Callable[[str], None]
) -> int:
    """Listen for the gateway: where GATEWAY_PORT says and nowhere else, or else on 8000 when that is free."""
    host = settings.get("HOST", "127.0.0.1")
    wanted = settings.get("GATEWAY_PORT")
    if not wanted:
        preferred = None if fast else GATEWAY.port
        port = listen(warden, ports, GATEWAY.process, preferred, host)
        if preferred and port != preferred:
            say(
                f"port {preferred} is taken by another program; this time the gateway listens on {port} (GATEWAY_PORT "
                f"chooses another). From other folders: docuchat login --server http://127.0.0.1:{port}"
            )
        return port
    if not wanted.isdecimal() or not 1 <= int(wanted) <= _HIGHEST_PORT:
        raise BadEnvironment(f"GATEWAY_PORT is {wanted!r}, not a number from 1 to {_HIGHEST_PORT}")
    given = warden.listen(GATEWAY.process, host, int(wanted))
    if given is None:
        raise BadEnvironment(f"port {wanted} is taken by another program; set GATEWAY_PORT to another one")
    return given
