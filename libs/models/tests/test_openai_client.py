"""The one client of providers, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from ipaddress import ip_network

import openai
import pytest
import structlog
from aiohttp import web
from yarl import URL

from docuchat_common.egress import EgressPolicy
from docuchat_models.errors import ProviderFailed, ProviderRefused
from docuchat_models.openai_client import open_client, translate


@asynccontextmanager
async def serving(**handlers) -> AsyncIterator[str]:
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_post(f"/{name}/embeddings", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def failure_at(url: str, **options) -> Exception:
    given = {"api_key": "k", "read": timedelta(seconds=5)} | options
    async with open_client(base_url=url, **given) as client:
        with pytest.raises(openai.APIError) as error:
            await client.embeddings.create(model="m", input="secret")
    return translate(error.value)


async def test_a_redirect_is_an_error_and_nothing_is_sent_on():
    heard = []

    async def elsewhere(request: web.Request) -> web.Response:
        heard.append(await request.read())
        return web.json_response({})

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/elsewhere/embeddings")

    async with serving(moved=moved, elsewhere=elsewhere) as url:
        assert isinstance(await failure_at(f"{url}/moved"), ProviderRefused)
    assert heard == []


async def test_an_error_without_end_is_read_only_at_its_beginning():
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)
            sent += 65536

    async with asyncio.timeout(20), serving(endless=endless) as url:
        assert isinstance(await failure_at(f"{url}/endless"), ProviderFailed)
    assert sent < 64 * 2**20  # what the sockets between hold


@pytest.mark.parametrize(
    ("code", "told"), [("model_not_found", "model_not_found"), ("my own secret\n", None), ([1], None)]
)
async def test_what_a_provider_calls_a_code_is_logged_only_where_it_is_one(code: object, told: str | None):
    async def refusing(request: web.Request) -> web.Response:
        return web.json_response({"error": {"message": "no", "code": code}}, status=400)

    with structlog.testing.capture_logs() as logs:
        async with serving(refusing=refusing) as url:
            assert isinstance(await failure_at(f"{url}/refusing"), ProviderRefused)
    assert [line["code"] for line in logs if line["event"] == "provider.refused"] == [told]


@pytest.mark.parametrize("key_header", [None, "api-key"])
async def test_a_key_that_a_provider_sends_back_as_a_code_is_not_logged(key_header: str | None):
    async def refusing(request: web.Request) -> web.Response:
        shown = request.headers[key_header or "Authorization"].removeprefix("Bearer ")
        return web.json_response({"error": {"message": shown, "code": shown, "param": shown}}, status=401)

    with structlog.testing.capture_logs() as logs:
        async with serving(refusing=refusing) as url:
            refused = await failure_at(f"{url}/refusing", api_key="sk-canary-7d1c", key_header=key_header)
    assert isinstance(refused, ProviderRefused)
    assert "canary" not in f"{logs} {refused}"


async def test_what_is_guarded_does_not_go_by_a_proxy_of_the_environments(monkeypatch: pytest.MonkeyPatch):
    heard = []

    async def direct(request: web.Request) -> web.Response:
        heard.append(request.path)
        raise web.HTTPBadRequest

    async with serving(direct=direct) as url, serving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        at = URL(url)
        policy = EgressPolicy(
            allow_http=True,
            ports=frozenset({at.port}),
            networks=(ip_network(at.host),),
            hosts=frozenset({f"{at.host}:{at.port}"}),
        )
        assert isinstance(await failure_at(f"{url}/direct", egress=policy), ProviderRefused)
    assert heard == ["/direct/embeddings"]
