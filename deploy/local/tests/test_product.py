"""The whole product as processes."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docuchat_local.backing import started_servers
from docuchat_local.control import obeyed_requests, request_restart
from docuchat_local.errors import BadEnvironment, LocalError, ServerFailed
from docuchat_local.ground import listen
from docuchat_local.probes import find_codes, find_running, http_status
from docuchat_local.processes import ProcessSpec, Warden
from docuchat_local.product import started_product
from docuchat_local.services import SERVICE_NAMES, ServiceProcess, entry_of
from docuchat_local.state import Ports
from docuchat_testkit.eventually import eventually_sync

# a machine that is busy with other tests starts five services slowly
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-20T21:45:30Z [info     ] auth.code_issued code=123456 email=a@example.com for=reset",
        '{"event": "auth.code_issued code=123456 email=a@example.com", "level": "info"}',
        '{"event": "auth.code_issued", "code": "123456"}',
        "auth.code_issued \x1b[36mcode\x1b[0m=\x1b[35m123456\x1b[0m",
    ],
)
def test_a_code_is_found_in_every_log_format(line):
    assert find_codes(line) == ["123456"]


def test_other_numbers_are_no_codes():
    assert find_codes("http.request status=200 barcode=123456 code=1234567 code=otp") == []


@pytest.mark.full
def test_a_crashed_service_comes_back_and_a_killed_one_stays_down_until_it_is_started(tmp_path):
    with started_product(tmp_path / ".local", {}, fast=True) as product:
        assert set(product.processes) == set(SERVICE_NAMES)
        assert http_status(f"{product.gateway_url}/healthz") == 200
        found = find_running(product.folder)
        assert found is not None
        assert found.gateway_url == product.gateway_url
        copied = tmp_path / "copied"
        copied.mkdir()
        shutil.copy(product.folder / "run.json", copied)
        assert find_running(copied) is None
        assert "JWT_SECRET" not in product.env_for("chat")

        usage = product.processes["usage"]
        crashed = usage.pid
        assert crashed is not None
        os.kill(crashed, signal.SIGKILL)
        eventually_sync(lambda: usage.pid not in {None, crashed} and usage.is_ready(), timeout=60)

        usage.kill()
        assert not usage.is_ready()
        usage.start()
        assert usage.is_ready()

        key_file = product.folder / "operator.json"
        assert key_file.stat().st_mode & 0o077 == 0
        told = subprocess.run(
            [Path(sys.executable).with_name("docuchat"), "admin", "list-tenants"],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        assert "demo" in told.stdout

        replica = product.add_replica("ingest-worker")
        assert replica.is_ready()
    assert find_running(product.folder) is None
    assert http_status(f"{product.gateway_url}/healthz") is None


@pytest.mark.full
def test_given_servers_are_used_and_left_running(tmp_path):
    with started_servers(tmp_path / "given", fast=True) as given:
        settings = {
            "BACKING": "external",
            "DATABASE_URL": given.postgres_admin_url.replace("postgresql://", "postgresql+asyncpg://"),
            "REDIS_URL": given.redis_url,
            "RABBITMQ_URL": given.rabbitmq_url,
        }
        with (
            pytest.raises(BadEnvironment, match=r"RABBITMQ_CONTROL.*rabbitmqctl import_definitions"),
            started_product(tmp_path / "product", settings, fast=True),
        ):
            pass
        logins = json.loads((tmp_path / "product" / "rabbitmq-logins.json").read_text())
        assert {user["name"] for user in logins["users"]} >= {"docuchat_chat", "docuchat_usage"}
        # as if somebody had given the broker that file
        kept, given_secrets = (tmp_path / name / "secrets.json" for name in ("product", "given"))
        broker = {name: value for name, value in json.loads(given_secrets.read_text()).items() if "broker_" in name}
        kept.write_text(json.dumps(json.loads(kept.read_text()) | broker))
        with started_product(tmp_path / "product", settings, fast=True) as product:
            assert product.servers is None
            assert http_status(f"{product.gateway_url}/readyz") == 200
        assert given.postgres.process.is_running
        assert given.rabbitmq.process.is_running


def test_a_setting_that_a_service_refuses_ends_the_start_with_its_reason(tmp_path):
    with (
        pytest.raises(BadEnvironment, match="JWT_SECRET"),
        started_product(tmp_path, {"JWT_SECRET": "short"}, fast=True),
    ):
        pass


def test_a_service_that_never_serves_is_given_up_with_the_end_of_its_log(tmp_path):
    said: list[str] = []
    with Warden(tmp_path / "lock") as warden:
        log = tmp_path / "usage.log"
        process = warden.add(ProcessSpec("usage", ["sh", "-c", "echo no such folder; exit 3"], {}, tmp_path, log))
        service = ServiceProcess(
            "usage", "", process, said.append, service=entry_of("usage"), management_url="http://127.0.0.1:1"
        )
        with pytest.raises(ServerFailed, match=rf"usage ended 3 times .*{log}:\n(no such folder\n?)+$"):
            service.start()
        assert said[0] == f"usage ended with 3 ({log} says why); starting it again in 0.5 s"
        assert not service.is_wanted


@pytest.mark.full
def test_processes_of_one_service_share_its_socket_and_a_restart_refuses_nobody(tmp_path):
    with started_product(tmp_path, {"CHAT_PROCESSES": "2"}, fast=True) as product:
        assert {"chat", "chat-2"} <= set(product.processes)
        first, second = product.processes["chat"], product.processes["chat-2"]
        assert first.url == second.url
        assert first.management_url != second.management_url

        usage = product.processes["usage"]
        usage.stop()
        with socket.create_connection(("127.0.0.1", urlsplit(usage.url).port), timeout=60) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: usage\r\nConnection: close\r\n\r\n")
            usage.start()
            assert connection.recv(64).startswith(b"HTTP/1.1 200")

        assert http_status(f"{usage.url}/metrics") == 404
        assert http_status(f"{usage.management_url}/metrics") == 200
        assert http_status(f"{product.gateway_url}/metrics") == 404


@pytest.mark.full
def test_a_restart_starts_the_successor_first_and_keeps_the_old_process_when_that_refuses(tmp_path):
    settings: dict[str, str] = {}
    said: list[str] = []
    with (
        started_product(tmp_path, settings, fast=True) as product,
        obeyed_requests(tmp_path, lambda services, say: product.restart(services, settings, say)),
    ):
        before = {name: handle.pid for name, handle in product.processes.items()}
        assert before["chat"] is not None
        with serving_all_the_time(product.processes["chat"].url):
            request_restart(tmp_path, ["chat"], said.append)
        chat = product.processes["chat"]
        assert chat.pid != before["chat"]
        assert not Path(f"/proc/{before['chat']}").exists()
        assert chat.is_ready()
        ports = json.loads((tmp_path / "ports.json").read_text())
        assert chat.management_url == f"http://127.0.0.1:{ports['chat_management']}"
        assert [line.split()[:2] for line in said] == [["chat", "restarted"]]

        settings["JWT_SECRET"] = "short"
        with pytest.raises(LocalError, match="JWT_SECRET"):
            request_restart(tmp_path, ["auth"], said.append)
        auth = product.processes["auth"]
        assert auth.pid == before["auth"]
        assert auth.is_ready()
        ports = json.loads((tmp_path / "ports.json").read_text())
        assert auth.management_url == f"http://127.0.0.1:{ports['auth_management']}"

        with pytest.raises(LocalError, match="no service 'postgres'"):
            request_restart(tmp_path, ["postgres"], said.append)
        assert set(product.processes) == set(SERVICE_NAMES)

        crashed = chat.pid
        assert crashed is not None
        os.kill(crashed, signal.SIGKILL)
        eventually_sync(lambda: chat.pid not in {None, crashed} and chat.is_ready(), timeout=60)
    with pytest.raises(LocalError, match="make run"):
        request_restart(tmp_path, [], said.append)


@contextmanager
def serving_all_the_time(url: str) -> Iterator[None]:
    """Ask again and again meanwhile; every answer has to come."""
    done = threading.Event()
    answers: list[int | None] = []

    def ask() -> None:
        while not done.is_set():
            answers.append(http_status(f"{url}/livez"))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert set(answers) == {200}


def test_another_port_is_kept_for_as_long_as_the_preferred_one_is_taken(tmp_path):
    def port_of_a_start() -> int:
        with Warden(tmp_path / "lock") as warden:
            chosen = listen(warden, Ports(tmp_path / "ports.json"), "gateway", preferred=taken)
            assert warden.listen("again", "127.0.0.1", chosen) is None
            return chosen

    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        chosen = port_of_a_start()
        assert chosen != taken
        assert port_of_a_start() == chosen
    assert port_of_a_start() == taken


def test_an_address_that_nobody_could_listen_on_is_named(tmp_path):
    with (
        Warden(tmp_path / "lock") as warden,
        pytest.raises(BadEnvironment, match=r"gateway cannot listen on no\.such\.host, port \d+: \S"),
    ):
        listen(warden, Ports(tmp_path / "ports.json"), "gateway", host="no.such.host")
