"""Ready is who can serve; what is not needed is told, and never in the way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx2
from prometheus_client import REGISTRY

from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.app import create_service_app
from docuchat_common.http.health import Check
from docuchat_testkit.eventually import eventually


async def works() -> None:
    return None


async def fails() -> None:
    raise UpstreamUnavailable("It does not answer.")


async def hangs() -> None:
    await asyncio.Event().wait()


@dataclass(frozen=True)
class Container:
    checks: dict[str, Check] = field(default_factory=lambda: {"postgres": works})
    watched: dict[str, Check] = field(default_factory=lambda: {"rabbitmq": works})


@asynccontextmanager
async def running(container: Container) -> AsyncIterator[httpx2.AsyncClient]:
    @asynccontextmanager
    async def open_container(_: None) -> AsyncIterator[Container]:
        yield container

    app = create_service_app(None, title="test", routers=[], open_container=open_container)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client,
    ):
        yield client


def up(part: str) -> float | None:
    return REGISTRY.get_sample_value("docuchat_part_up", {"part": part})


async def test_whoever_lacks_what_a_request_needs_is_not_ready_and_says_what() -> None:
    async with running(Container(checks={"postgres": works, "redis": fails})) as client:
        ready, health = await client.get("/readyz"), await client.get("/healthz")
        assert (ready.status_code, health.status_code) == (503, 503)
        assert ready.headers["Retry-After"] == "2"
        parts = {"postgres": "ok", "redis": "failing (It does not answer)"}
        assert ready.json() == {"status": "degraded", "checks": parts}
        assert health.json()["checks"] == {**parts, "rabbitmq": "ok"}
        assert (await client.get("/livez")).status_code == 200


async def test_a_part_that_no_request_needs_is_told_and_keeps_nobody_from_being_ready() -> None:
    async with running(Container(watched={"rabbitmq": fails})) as client:
        ready, health = await client.get("/readyz"), await client.get("/healthz")
        assert (ready.status_code, ready.json()) == (200, {"status": "ok", "checks": {"postgres": "ok"}})
        assert (health.status_code, health.json()["status"]) == (200, "degraded")
        assert health.json()["checks"]["rabbitmq"] == "failing (It does not answer)"


async def test_a_part_that_does_not_answer_fails_in_time() -> None:
    async with running(Container(checks={"postgres": hangs})) as client:
        async with asyncio.timeout(30):
            ready = await client.get("/readyz")
    assert (ready.status_code, ready.json()["checks"]) == (503, {"postgres": "failing (no answer within 2 s)"})


async def test_every_part_is_a_metric_without_being_asked_for() -> None:
    async with running(Container(checks={"needed-part": works}, watched={"other-part": fails})):
        await eventually(lambda: (up("needed-part"), up("other-part")) == (1, 0))
