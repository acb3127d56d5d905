"""The command `docuchat-local`, which the Makefile calls."""

import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from docuchat_local.accounts import remove_stand_in, sweep
from docuchat_local.control import Restart, obeyed_requests, request_restart
from docuchat_local.environment import ROOT, read_settings
from docuchat_local.errors import LocalError
from docuchat_local.probes import find_running
from docuchat_local.product import RunningProduct, prepare_only, started_product
from docuchat_local.subscribers import make_subscriber
from docuchat_local.terminal import LogFollower, Terminal
from docuchat_local.vocabulary import prepare_vocabulary

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)
_FOLDER = ROOT / ".local"
_LOCK_FILE = ROOT / "deploy" / "local" / "vocabulary.lock"
_INTERRUPTED = 130

FolderOption = Annotated[Path, typer.Option(help="Where data, ports, secrets and logs are kept.")]


@app.command()
def up(folder: FolderOption = _FOLDER) -> None:
    """Run the whole product until Ctrl-C."""
    terminal = Terminal()
    follower = LogFollower(terminal)
    with _readable_errors(terminal), _stop_request(terminal) as stop:
        running = find_running(folder)
        if running:
            terminal.say(f"DocuChat runs already, at {running.gateway_url}")
            return
        try:
            with started_product(
                folder,
                read_settings(ROOT / ".env"),
                say=lambda text: terminal.say(f"... {text}"),
                on_lost=stop.lose,
            ) as product:
                for handle in product.processes.values():
                    follower.follow(handle.name, handle.log)
                stop.wait(0)  # from here on a signal is a request, no interruption
                with obeyed_requests(folder, _restarting(product, terminal)):
                    terminal.say(_welcome(terminal, product.gateway_url, folder))
                    stop.wait()
                if not stop.is_lost:
                    terminal.say("stopping: gateway, then the services, then the servers")
        finally:
            follower.close()
        _end(terminal, stop)
        terminal.say("stopped; nothing is left running")


@app.command()
def restart(
    services: Annotated[list[str] | None, typer.Argument(metavar="SERVICE", help="All when none is named.")] = None,
    folder: FolderOption = _FOLDER,
) -> None:
    """Restart services of the running product with the settings of now; no request is refused meanwhile.

    A new process takes over from each in turn, once it is ready. When it does not become ready, the old one stays.
    """
    terminal = Terminal()
    with _readable_errors(terminal):
        request_restart(folder, services or [], terminal.say)


@app.command()
def demo(folder: FolderOption = _FOLDER) -> None:
    """Upload a PDF and ask about it, against the running product or one started for it."""
    from docuchat_local.demo import run_demo

    terminal = Terminal()
    with _readable_errors(terminal), _stop_request(terminal):
        running = find_running(folder)
        if running:
            run_demo(running.gateway_url, running.auth_log, terminal)
            return
        terminal.say("... no product is running; starting one for the demonstration")
        with started_product(
            folder, read_settings(ROOT / ".env"), say=lambda text: terminal.say(f"... {text}")
        ) as product:
            run_demo(product.gateway_url, product.processes["auth"].log, terminal)


@app.command()
def servers(folder: FolderOption = _FOLDER) -> None:
    """Run only PostgreSQL, Redis and RabbitMQ, and print their addresses."""
    from docuchat_local.backing import started_servers

    terminal = Terminal()
    with _readable_errors(terminal), _stop_request(terminal) as stop:
        with started_servers(folder, say=lambda text: terminal.say(f"... {text}"), on_lost=stop.lose) as running:
            terminal.say(f"DATABASE_URL={running.postgres_admin_url}")
            terminal.say(f"REDIS_URL={running.redis_url}")
            terminal.say(f"RABBITMQ_URL={running.rabbitmq_url}")
            stop.wait()
        _end(terminal, stop)


@app.command()
def migrate(folder: FolderOption = _FOLDER) -> None:
    """Make roles, schemas and tenant 1 on the given servers (BACKING=external), or on our own."""
    terminal = Terminal()
    with _readable_errors(terminal), _stop_request(terminal):
        changed = prepare_only(folder, read_settings(ROOT / ".env"), lambda text: terminal.say(f"... {text}"))
        terminal.say("database prepared" if changed else "nothing to do")


@app.command()
def vocabulary(folder: FolderOption = _FOLDER) -> None:
    """Fetch tiktoken's vocabularies, so that counting tokens needs no network."""
    terminal = Terminal()
    with _readable_errors(terminal):
        terminal.say(f"TIKTOKEN_CACHE_DIR={prepare_vocabulary(folder / 'tiktoken', _LOCK_FILE)}")


@app.command()
def subscriber(
    name: Annotated[str, typer.Option(help="The other system; its queues begin with this name and a dot.")],
    types: Annotated[str, typer.Option(help="The events that it may read, with commas between; all without.")] = "",
    folder: FolderOption = _FOLDER,
) -> None:
    """Make a login at the running product's broker for another system, and print its address, once."""
    terminal = Terminal()
    with _readable_errors(terminal):
        terminal.say(make_subscriber(folder, name, [one.strip() for one in types.split(",") if one.strip()]))


@app.command()
def clean(folder: FolderOption = _FOLDER) -> None:
    """Remove the local data, ports and secrets; the vocabularies stay."""
    from docuchat_local.processes import Warden

    terminal = Terminal()
    with _readable_errors(terminal):
        folder.mkdir(parents=True, exist_ok=True)
        with Warden(folder / "lock"):  # refuses while a product runs
            remove_stand_in(folder / "servers")
            sweep(below=Path(sys.prefix))  # the copy of PostgreSQL's programs
            for path in folder.iterdir():
                if path.is_dir() and path.name != "tiktoken":
                    shutil.rmtree(path)
                elif path.is_file() and path.name != "lock":
                    path.unlink()
        terminal.say(f"removed the local data in {folder}")


def _restarting(product: RunningProduct, terminal: Terminal) -> Restart:
    """What restarts services with the settings of that moment, and tells this terminal as well as who asked."""

    def restart(services: Sequence[str], say: Callable[[str], None]) -> None:
        def told(text: str) -> None:
            terminal.say(f"... {text}")
            with suppress(OSError):  # who asked has gone; what was begun is ended
                say(text)

        product.restart(services, read_settings(ROOT / ".env"), told)

    return restart


def _welcome(terminal: Terminal, gateway_url: str, folder: Path) -> str:
    return f"""
{terminal.bold(f"DocuChat is ready at {gateway_url}")}
  API documentation   {gateway_url}/docs
  logs                {folder}/logs/<service>.log
  restart a service   .venv/bin/docuchat-local restart [SERVICE]
  stop                Ctrl-C

Next, in another terminal:
  {terminal.bold("make demo")}
or sign in yourself (the code appears here):
  curl -X POST {gateway_url}/v1/auth/request-code -H "X-Tenant-ID: 1" \\
    -H "Content-Type: application/json" -d '{{"email": "user@example.com"}}'
"""


@contextmanager
def _stop_request(terminal: Terminal) -> Iterator["_Stop"]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into an event, or into KeyboardInterrupt while nobody waits for it."""
    event = _Stop()
    previous = {
        number: signal.signal(number, event.requested) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield event
    except KeyboardInterrupt:
        _fail(terminal, "interrupted; nothing that was started is left running", _INTERRUPTED)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class _Stop(threading.Event):
    def __init__(self) -> None:
        super().__init__()
        self._waiting = False
        self.is_lost = False

    def requested(self, *_: object) -> None:
        if self.is_set():
            return  # the orderly stop is under way, and bounded
        self.set()
        if not self._waiting:
            raise KeyboardInterrupt

    def lose(self) -> None:
        """End the wait, because there is nothing left to wait for."""
        self.is_lost = True
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        self._waiting = True
        return super().wait(timeout)


@contextmanager
def _readable_errors(terminal: Terminal) -> Iterator[None]:
    try:
        yield
    except LocalError as fault:
        _fail(terminal, f"cannot go on: {fault}", 1)
    except KeyboardInterrupt:
        _fail(terminal, "interrupted", _INTERRUPTED)


def _end(terminal: Terminal, stop: "_Stop") -> None:
    if stop.is_lost:
        _fail(terminal, "the process that holds all others was killed, and they ended with it: start again", 1)


def _fail(terminal: Terminal, text: str, code: int) -> NoReturn:
    sys.stdout.flush()
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the command line's error
    raise typer.Exit(code)


def main() -> None:
    """Entry point of `docuchat-local`."""
    app()
