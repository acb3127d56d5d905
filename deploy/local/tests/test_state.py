import json
import socket
import subprocess
import sys

from docuchat_local.state import Ports, Secrets, is_port_free


def test_ports_are_remembered(tmp_path):
    first = Ports(tmp_path / "ports.json").claim("redis")
    assert Ports(tmp_path / "ports.json").claim("redis") == first


def test_a_port_that_somebody_else_took_is_chosen_again(tmp_path):
    path = tmp_path / "ports.json"
    remembered = Ports(path).claim("redis")
    with socket.create_server(("127.0.0.1", remembered)):
        chosen = Ports(path).claim("redis")
    assert chosen != remembered
    assert json.loads(path.read_text())["redis"] == chosen


def test_the_port_of_a_server_that_is_down_is_left_to_its_process(tmp_path):
    path = tmp_path / "ports.json"
    remembered = Ports(path).claim("rabbitmq")  # nothing listens on it
    claim = (
        "import sys; from pathlib import Path; from docuchat_local.state import Ports\n"
        "print(Ports(Path(sys.argv[1])).claim('gateway', int(sys.argv[2])))"
    )
    command = [sys.executable, "-c", claim, tmp_path / "others.json", str(remembered)]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(other.stdout) != remembered
    assert Ports(path).claim("rabbitmq") == remembered


def test_no_two_names_share_a_port(tmp_path):
    ports = Ports(tmp_path / "ports.json")
    preferred = ports.claim("a")
    assert ports.claim("b", preferred) != preferred


def test_a_taken_port_is_not_free(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_port_free(server.getsockname()[1])


def test_secrets_are_long_kept_and_private(tmp_path):
    path = tmp_path / "secrets.json"
    secret = Secrets(path).get("jwt_secret")
    assert len(secret) >= 32
    assert Secrets(path).get("jwt_secret") == secret
    assert Secrets(path).get("internal_token") != secret
    assert path.stat().st_mode & 0o777 == 0o600
