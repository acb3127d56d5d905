"""Sign-in by a certified OpenID Connect provider, in a real browser, from a front end's page to its tokens and back."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docuchat_testkit.chromium import find_chromium
from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, started_test_product
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

HERE = Path(__file__).parent / "federation"
_PATIENCE = 300
CLIENT, SECRET = "docuchat", "a-secret-of-the-test-that-nobody-guesses"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def front_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def product(
    breakable_servers: TestServers, tmp_path_factory: pytest.TempPathFactory, front_port: int
) -> Iterator[Product]:
    front = f"http://localhost:{front_port}"
    settings = {
        "FRONTEND_ORIGIN": front,
        "SIGN_IN_RETURN_URLS": f"{front}/signed-in",
        "EGRESS_ALLOW_HTTP": "true",
        "EGRESS_NETWORKS": "127.0.0.0/8",
        "EGRESS_HOSTS": "127.0.0.1",
    }
    folder = tmp_path_factory.mktemp("federation")
    with started_test_product(folder, breakable_servers, redis_number=3, settings=settings) as product:
        yield product


@pytest.fixture(scope="module")
def packages(with_node: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the provider and what drives the browser."""
    folder = tmp_path_factory.mktemp("packages")
    for file in HERE.iterdir():
        shutil.copy(file, folder)
    install = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, env=with_node, check=True, capture_output=True)
    return folder


async def test_people_of_a_company_sign_in_through_its_provider(
    product: Product, packages: Path, with_node: dict[str, str], front_port: int
) -> None:
    tenant_id, port = await product.new_tenant(), free_port()
    async with product.user(tenant_id, "boss@acme.example") as boss:
        group = (await boss.http.post("/v1/groups", json={"name": "Legal"})).json()
        body = {
            "name": "Acme",
            "issuer": f"http://127.0.0.1:{port}",
            "client_id": CLIENT,
            "client_secret": SECRET,
            "scopes": ["email", "profile", "groups"],
            "jit": {"enabled": True, "default_role": "viewer", "domains": ["acme.example"]},
            "group_mappings": [{"value": "lawyers", "group_id": group["id"], "role": "member"}],
        }
        made = await boss.http.post("/v1/identity-providers", json=body)
        assert made.status_code == 201, made.text
        known = made.json()
        gateway = known["start_url"].partition("/v1/")[0]
        run: dict[str, Any] = {"cwd": packages, "env": with_node, "text": True}
        serve = ["node", "provider.mjs", str(port), known["redirect_uri"], CLIENT, SECRET]
        drive = ["node", "browser.mjs", find_chromium(), str(front_port), known["start_url"], gateway]
        # it ends with its input
        with subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **run) as provider:  # noqa: ASYNC220 - returns at once
            assert provider.stdout is not None
            assert (await asyncio.to_thread(provider.stdout.readline)).strip() == "ready"
            done = await asyncio.to_thread(
                subprocess.run, drive, capture_output=True, check=False, timeout=_PATIENCE, **run
            )
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads(done.stdout)
        members = (await boss.http.get(f"/v1/groups/{group['id']}/members")).json()["items"]
        people = {name: json.loads(told[name]["said"]) for name in ("ann", "ben")}

        async def in_the_log() -> set[str]:
            log = (await boss.http.get("/v1/audit", params={"action": "session.start"})).json()["items"]
            ids = {person["me"]["id"] for person in people.values()}
            assert ids <= {entry["actor_id"] for entry in log}
            return {entry["detail"] for entry in log if entry["actor_id"] in ids}

        details = await eventually(in_the_log)

    ann, ben = (people[name]["me"] for name in ("ann", "ben"))
    assert (ann["role"], ben["role"]) == ("member", "viewer")
    assert (ann["name"], ann["email"], ann["email_verified"]) == ("ann", "ann@acme.example", False)
    assert [member["user_id"] for member in members] == [ann["id"]]
    assert details == {f"by identity provider {known['id']}, joined, groups +1 -0, viewer to member",
                       f"by identity provider {known['id']}, joined"}  # fmt: skip
    assert told["again"] == 401, "another browser cannot come back with the first one's state"
    for name in ("ann", "ben"):
        tokens = people[name]["tokens"]
        assert not any(
            token in url for url in told[name]["urls"] for token in (tokens["access_token"], tokens["refresh_token"])
        )
        assert told[name]["cookies"] == [], "the cookie of the sign-in is gone"
