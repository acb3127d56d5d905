"""What usage gave up can be seen and brought back over HTTP, by our own services alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import httpx2
import pytest

from docuchat_common.events.catalogue import TenantCreated
from docuchat_common.ids import TenantId
from docuchat_common.messaging.broker import Broker, Publisher
from docuchat_testkit.eventually import eventually
from docuchat_testkit.identity import INTERNAL_TOKEN
from docuchat_usage.app import create_app
from docuchat_usage.settings import Settings

if TYPE_CHECKING:
    from docuchat_testkit.broker import TestBroker

INTERNAL = {"X-Internal-Token": INTERNAL_TOKEN}
QUEUE = "usage.tenant-created.v1"


async def test_dead_letters_are_listed_and_replayed_for_our_own_services_alone(
    service_environment: Callable[[str], dict[str, str]], rabbitmq: TestBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in service_environment("usage").items():
        monkeypatch.setenv(name, value)
    app = create_app(Settings())
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://usage") as http,
        Broker.connect(rabbitmq.url("auth"), name="auth") as auth,
    ):
        await eventually(app.state.container.watched["rabbitmq"])
        assert (await http.get("/internal/dead-letters")).status_code == 403
        event = TenantCreated(tenant_id=9, slug="acme", name="Acme")
        await Publisher(auth).publish(b"{}", routing_key=event.type, message_id=event.id, headers={})

        async def listed() -> None:
            (item,) = (await http.get("/internal/dead-letters", headers=INTERNAL)).json()["items"]
            assert (item["queue"], item["type"], item["reason"]) == (QUEUE, event.type, "MalformedEvent")
            assert item["count"] == 1

        await eventually(listed)
        unknown = await http.post("/internal/dead-letters/replay", json={"queue": "x"}, headers=INTERNAL)
        assert (unknown.status_code, unknown.json()["code"]) == (404, "queue_not_found")
        replayed = await http.post("/internal/dead-letters/replay", json={"queue": QUEUE}, headers=INTERNAL)
        assert replayed.json() == {"replayed": 1}
        await eventually(listed)  # it is no better than before, and was given up again
        path = "/internal/dead-letters/discard"
        assert (await http.post(path, json={}, headers=INTERNAL)).status_code == 422
        assert (await http.post(path, json={"queue": "x"}, headers=INTERNAL)).json()["code"] == "queue_not_found"
        assert (await http.post(path, json={"queue": QUEUE}, headers=INTERNAL)).json() == {"discarded": 1}
        assert (await http.get("/internal/dead-letters", headers=INTERNAL)).json() == {"items": []}

        office = app.state.container.dead_letters
        for tenant in (7, 8, 7):
            late = TenantCreated(tenant_id=tenant, slug="acme", name="Acme")
            await office.add(late, publisher="auth", reason="test")
        assert await office.discard_of(TenantId(7)) == 2
        (item,) = (await http.get("/internal/dead-letters", headers=INTERNAL)).json()["items"]
        assert item["count"] == 1, "of another tenant"
