import json
import socket

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
