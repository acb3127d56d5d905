"""Providers of models: made, changed and deleted, by tenants and for all of them, and what nobody is shown."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from ipaddress import ip_network
from typing import Any

import pytest
import pytest_asyncio
import redis.asyncio as redis
from aiohttp import web
from pydantic import SecretStr
from structlog.testing import capture_logs
from yarl import URL

from docuchat_chat.adapters.openai_model import open_provider
from docuchat_chat.adapters.provider_clients import OF_ONE, ProviderClients
from docuchat_chat.adapters.provider_health import RedisWatch
from docuchat_chat.answers.domain import PromptMessage
from docuchat_chat.answers.environment import EnvironmentModels
from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.answers.ports import AnswerRequest
from docuchat_chat.answers.setup import Setup
from docuchat_chat.providers.catalogue import Catalogue
from docuchat_chat.providers.domain import (
    Auth,
    NewProvider,
    Provider,
    ProviderEdit,
    ProviderId,
    ProviderModel,
    environments,
)
from docuchat_chat.providers.errors import (
    ProviderChanged,
    ProviderKeyNeeded,
    ProviderNameReserved,
    ProviderNameTaken,
    ProviderNotFound,
    ProviderOfPlatform,
)
from docuchat_chat.providers.models import ForEverybody, ProvidedModels
from docuchat_chat.providers.ports import OpenedProvider
from docuchat_chat.providers.probing import Probing
from docuchat_chat.providers.schemas import NewProviderBody, ProviderView
from docuchat_chat.providers.sealing import SealedKeys
from docuchat_chat.providers.service import Owner, ProviderService
from docuchat_chat.providers.upkeep import Upkeep
from docuchat_chat.providers.watching import DOWN_AFTER, WELL
from docuchat_common.clock import SystemClock
from docuchat_common.egress import EgressPolicy, UrlRefused, UrlUnreachable
from docuchat_common.errors import UpstreamUnavailable
from docuchat_common.http.caller import NO_TENANT, Caller
from docuchat_common.ids import TenantId, uuid7
from docuchat_models.errors import ProviderError, ProviderFailed, ProviderRateLimited, ProviderRefused

running = sys.modules["chat_running"]
KEY = "sk-a-very-secret-key-x9Qf"
LLAMA = ProviderModel("accounts/llama", Decimal("0.2"), Decimal("0.4"), context_window=8192)


def new(name: str = "fireworks", base_url: str = "https://api.fireworks.ai/v1", **fields: Any) -> NewProvider:
    return NewProvider(
        name, base_url, **{"auth": Auth.BEARER, "query": {}, "models": (LLAMA,), "is_enabled": True} | fields
    )


def nowhere(*_: Any) -> Any:
    raise UpstreamUnavailable


class Stub:
    """A provider as it is over HTTP: tells what it was asked with, and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.location = ""
        self.asked, self.gate = asyncio.Event(), asyncio.Event()
        """The answer waits for the gate."""
        self.gate.set()
        self.heard: list[tuple[str, str | None, str | None]] = []

    async def serve(self, stack: AsyncExitStack) -> str:
        app = web.Application()
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}/v1"

    async def _list(self, request: web.Request) -> web.Response:
        self._hear(request)
        if self.location:
            return web.Response(status=self.status, headers={"Location": self.location})
        return web.json_response({"object": "list", "data": [{"id": LLAMA.name}]}, status=self.status)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self._hear(request)
        self.asked.set()
        await self.gate.wait()
        if self.location:
            return web.Response(status=self.status, headers={"Location": self.location})
        if self.status != 200:
            return web.json_response({"error": {"message": KEY}}, status=self.status)
        asked = await request.json()
        chunks = [
            {"choices": [{"index": 0, "delta": {"content": f"I am {asked['model']}."}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}},
        ]
        lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in chunks]
        return web.Response(text="".join((*lines, "data: [DONE]\n\n")), content_type="text/event-stream")

    def _hear(self, request: web.Request) -> None:
        headers = request.headers
        self.heard.append((request.path_qs, headers.get("Authorization"), headers.get("api-key")))


class Told:
    """The usage service, which hears of prices."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[ProviderModel, ...]]] = []
        self.away = False
        self.falls_after = False

    async def put(self, provider: Provider) -> None:
        if self.away:
            raise UpstreamUnavailable
        self.heard.append((provider.book_name, provider.models))
        if self.falls_after:
            raise UpstreamUnavailable


class Desk:
    """Providers of two tenants and of the platform beside a world."""

    def __init__(self, world: Any, client: redis.Redis) -> None:
        self.world, self.redis = world, client
        self.keys = SealedKeys("the installation's secret, as long as it is")
        self.watch, self.catalogue = RedisWatch(client), Catalogue(world.transactions)
        self.prices = Told()
        self.upkeep = Upkeep(world.transactions, self.prices, self.keys)
        self.policy, self.opened = EgressPolicy(), []
        self.clients = ProviderClients(self.open)
        self.providers = self.service()
        self.acme = Owner.tenant(replace(world.caller, role="admin"))
        self.other = Owner.tenant(replace(world.caller, tenant_id=TenantId(2), role="admin"))
        self.platform = Owner.platform(Caller(NO_TENANT, "operator", uuid7()))

    def service(self, environment: Provider | None = None) -> ProviderService:
        """The use cases, with what is there by now."""
        return ProviderService(
            self.world.transactions,
            self.keys,
            self.policy,
            self.catalogue,
            self.clients,
            self.watch,
            self.prices,
            self.upkeep,
            environment,
        )

    def open_to(self, base_url: str) -> None:
        """Let tenants' providers be at this one address inside."""
        host, port = URL(base_url).host, URL(base_url).port
        assert host is not None and port is not None
        self.policy = EgressPolicy(
            allow_http=True, ports=frozenset({port}), networks=(ip_network(host),), hosts=frozenset({f"{host}:{port}"})
        )
        self.providers = self.service()

    @asynccontextmanager
    async def open(self, provider: Provider) -> AsyncIterator[OpenedProvider]:
        self.opened.append(provider.revision)
        key = provider.sealed_key and self.keys.open(provider.sealed_key, provider.tenant_id, provider.id)
        seconds = timedelta(seconds=5)
        async with open_provider(
            provider, key, read=seconds, connect=seconds, longest_pause=seconds, egress=self.policy
        ) as opened:
            yield opened

    def models(self, bare: Any = ()) -> ProvidedModels:
        environment = EnvironmentModels(self.world.model, "openai", bare)
        return ProvidedModels(environment, bare, self.catalogue, self.clients, self.watch)

    async def ask(self, name: str, owner: Owner | None = None, patience: timedelta | None = None) -> str:
        tenant_id = (owner or self.acme).caller.tenant_id
        served = await self.models().find(tenant_id, name)
        request = AnswerRequest(
            served.model, Setup(name, top_k=6), (PromptMessage("user", "Who?"),), (), "Who?", 50, tenant_id
        )
        request = replace(request, patience=patience)
        return "".join([piece.text async for piece in served.answers.answer(request)])

    async def make(self, owner: Owner, key: str | None = KEY, **fields: Any) -> Provider:
        return await self.providers.create(owner, new(**fields), key)

    async def names(self, owner: Owner) -> list[str]:
        return [each.name for each in await self.providers.page(owner, 50, None)]


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def desk(bare_world: Any, stack: AsyncExitStack) -> Desk:
    client = redis.Redis.from_url(bare_world._redis_url, protocol=2)
    stack.push_async_callback(client.aclose)
    desk = Desk(bare_world, client)
    stack.push_async_callback(desk.clients.close)
    return desk


async def test_a_tenant_has_its_own_and_reads_the_platforms(desk: Desk) -> None:
    shared = await desk.make(desk.platform, name="house", base_url="http://localhost:11434/v1")
    own = await desk.make(desk.acme)
    assert own.models == (LLAMA,) and own.tenant_id == desk.acme.tenant_id and shared.tenant_id is None
    assert await desk.names(desk.acme) == ["house", "fireworks"]
    assert await desk.names(desk.other) == ["house"]
    assert await desk.names(desk.platform) == ["house"]
    assert await desk.providers.get(desk.acme, own.id) == own
    for owner in (desk.other, desk.platform):
        with pytest.raises(ProviderNotFound):
            await desk.providers.get(owner, own.id)
        with pytest.raises(ProviderNotFound):
            await desk.providers.change(owner, own.id, ProviderEdit({"is_enabled": False}))
        with pytest.raises(ProviderNotFound):
            await desk.providers.delete(owner, own.id)


async def test_what_is_the_platforms_only_operators_change(desk: Desk) -> None:
    shared = await desk.make(desk.platform)
    with pytest.raises(ProviderOfPlatform):
        await desk.providers.change(desk.acme, shared.id, ProviderEdit({"is_enabled": False}))
    with pytest.raises(ProviderOfPlatform):
        await desk.providers.delete(desk.acme, shared.id)
    await desk.providers.delete(desk.platform, shared.id)
    assert await desk.names(desk.acme) == []


async def test_the_database_lets_no_tenant_write_what_is_the_platforms(desk: Desk) -> None:
    shared = await desk.make(desk.platform)
    async with desk.world.transactions(desk.acme.tenant_id) as tx:
        assert await tx.providers.find(desk.acme.tenant_id, shared.id) is not None
        assert not await tx.providers.remove(None, shared.id)
        assert await tx.providers.find_own(None, shared.id) is None
    async with desk.world.transactions(NO_TENANT) as tx:
        assert [each.id for each in await tx.providers.page(None, 9, None)] == [shared.id]


async def test_names_are_nobody_elses(desk: Desk) -> None:
    await desk.make(desk.platform, name="house")
    await desk.make(desk.acme)
    await desk.make(desk.other)
    for name in ("house", "fireworks"):
        with pytest.raises(ProviderNameTaken):
            await desk.make(desk.acme, name=name)
    with pytest.raises(ProviderNameReserved):
        await desk.make(desk.acme, name="wordllama")
    assert (await desk.make(desk.platform)).book_name == "fireworks"
    (own,) = [
        each for each in await desk.providers.page(desk.acme, 9, None) if each.tenant_id and each.name == "fireworks"
    ]
    assert own.book_name == f"own/{own.tenant_id}/fireworks"


@pytest.mark.parametrize(
    ("address", "refusal"),
    [
        ("http://api.example.com/v1", UrlRefused),
        ("https://api.example.com:8443/v1", UrlRefused),
        ("https://127.0.0.1/v1", UrlUnreachable),
        ("https://[::1]/v1", UrlUnreachable),
        ("https://169.254.169.254/v1", UrlUnreachable),
        ("https://10.0.0.7/v1", UrlUnreachable),
        ("https://metadata.google.internal/v1", UrlUnreachable),
    ],
)
async def test_tenants_providers_are_in_public(desk: Desk, address: str, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        await desk.make(desk.acme, base_url=address)
    made = await desk.make(desk.acme)
    with pytest.raises(refusal):
        await desk.providers.change(desk.acme, made.id, ProviderEdit({"base_url": address}, KEY))


async def test_a_key_is_sealed_and_its_end_is_all_that_is_shown(desk: Desk) -> None:
    made = await desk.make(desk.acme)
    (row,) = await desk.world.rows("SELECT * FROM chat.providers")
    assert KEY.encode() not in row["sealed_key"] and KEY not in str(dict(row))
    assert made.sealed_key is not None
    assert desk.keys.open(made.sealed_key, made.tenant_id, made.id) == KEY
    assert desk.keys.open(made.sealed_key, TenantId(2), made.id) is None
    assert desk.keys.open(made.sealed_key, None, made.id) is None
    assert desk.keys.open(made.sealed_key, made.tenant_id, ProviderId(uuid7())) is None
    shown = ProviderView.of(made, WELL, whole=True).model_dump_json()
    assert made.key_hint == KEY[-4:] and KEY[:-4] not in shown and KEY not in repr(made)
    of_platform = ProviderView.of(made, WELL, whole=False)
    assert (of_platform.base_url, of_platform.api_key_hint) == (None, None)
    assert (await desk.make(desk.other, key="short")).key_hint == ""
    told = [event for event in await desk.world.events() if event.type == "audit.recorded.v1"]
    assert told and KEY[:-4] not in str(told)


async def test_another_address_is_not_shown_the_stored_key(desk: Desk) -> None:
    made = await desk.make(desk.acme)
    elsewhere = {"base_url": "https://evil.example/v1"}
    with pytest.raises(ProviderKeyNeeded):
        await desk.providers.change(desk.acme, made.id, ProviderEdit(elsewhere))
    moved = await desk.providers.change(desk.acme, made.id, ProviderEdit({"base_url": "https://api.fireworks.ai/v2"}))
    assert moved.sealed_key == made.sealed_key
    moved = await desk.providers.change(desk.acme, made.id, ProviderEdit(elsewhere, "another-key-of-mine"))
    assert moved.base_url == elsewhere["base_url"] and moved.key_hint == "mine"


@pytest.mark.parametrize("address", ["http://api.fireworks.ai/v1", "https://api.fireworks.ai:8443/v1"])
async def test_a_stored_key_is_not_shown_in_the_clear_nor_at_another_port(desk: Desk, address: str) -> None:
    made = await desk.make(desk.platform)
    with pytest.raises(ProviderKeyNeeded):
        await desk.providers.change(desk.platform, made.id, ProviderEdit({"base_url": address}))
    assert await desk.providers.get(desk.platform, made.id) == made


async def test_two_editors_do_not_overwrite_each_other(desk: Desk) -> None:
    made = await desk.make(desk.acme)
    changed = await desk.providers.change(desk.acme, made.id, ProviderEdit({"models": ()}, revision=made.revision))
    assert (changed.revision, changed.models) == (made.revision + 1, ())
    with pytest.raises(ProviderChanged) as late:
        await desk.providers.change(desk.acme, made.id, ProviderEdit({"is_enabled": False}, revision=made.revision))
    assert late.value.extensions == {"revision": changed.revision}


async def test_a_model_of_a_row_answers_as_provider_and_name(desk: Desk, stack: AsyncExitStack) -> None:
    stub = Stub()
    made = await desk.make(desk.platform, name="house", base_url=await stub.serve(stack))
    served = await desk.models().find(desk.acme.caller.tenant_id, "house/accounts/llama")
    assert (served.name, served.provider, served.model) == ("house/accounts/llama", "house", "accounts/llama")
    assert await desk.ask("house/accounts/llama") == "I am accounts/llama."
    azure = {"auth": Auth.API_KEY, "query": {"api-version": "2024-10-21"}}
    await desk.providers.change(desk.platform, made.id, ProviderEdit(azure))
    assert await desk.ask("house/accounts/llama") == "I am accounts/llama."
    assert stub.heard == [
        ("/v1/chat/completions", f"Bearer {KEY}", None),
        ("/v1/chat/completions?api-version=2024-10-21", None, KEY),
    ]
    assert desk.opened == [1, 2]
    listed = await desk.models(("gpt-4o",)).list_models(desk.acme.caller.tenant_id)
    assert [each.name for each in listed] == ["gpt-4o", "house/accounts/llama"]


async def test_what_is_disabled_deleted_or_not_listed_is_refused_with_what_to_do(desk: Desk) -> None:
    made = await desk.make(desk.acme)
    tenant_id, other = desk.acme.caller.tenant_id, desk.other.caller.tenant_id
    assert (await desk.models().find(tenant_id, "fireworks/accounts/llama")).provider == made.book_name
    for whose, name in ((tenant_id, "fireworks/other"), (tenant_id, "none/llama"), (other, "fireworks/accounts/llama")):
        with pytest.raises(ModelNotAllowed, match="/v1/providers"):
            await desk.models().find(whose, name)
    await desk.providers.change(desk.acme, made.id, ProviderEdit({"is_enabled": False}))
    with pytest.raises(ModelNotAllowed):
        await desk.models().find(tenant_id, "fireworks/accounts/llama")
    await desk.providers.change(desk.acme, made.id, ProviderEdit({"is_enabled": True}))
    assert await desk.models().find(tenant_id, "fireworks/accounts/llama")
    await desk.providers.delete(desk.acme, made.id)
    with pytest.raises(ModelNotAllowed):
        await desk.models().find(tenant_id, "fireworks/accounts/llama")


async def test_what_was_answered_about_a_provider_goes_with_it(desk: Desk) -> None:
    made, another = await desk.make(desk.acme), await desk.make(desk.acme, name="house")
    await desk.world.rows(
        """INSERT INTO chat.idempotent_requests (tenant_id, subject, key_hash, owner, lease_until, reference)
           SELECT $1, 's', decode(replace(id::text, '-', ''), 'hex'), id, now(), id FROM unnest($2::uuid[]) AS id""",
        desk.acme.caller.tenant_id,
        [made.id, another.id],
    )
    await desk.providers.delete(desk.acme, made.id)
    kept = await desk.world.rows("SELECT reference FROM chat.idempotent_requests")
    assert [row["reference"] for row in kept] == [another.id]


async def test_another_replica_knows_of_a_change_within_its_time_and_asks_no_more_than_that(desk: Desk) -> None:
    now = 0.0
    elsewhere = Catalogue(desk.world.transactions, elapsed=lambda: now)
    assert await elsewhere.find(desk.acme.caller.tenant_id, "fireworks/accounts/llama") is None
    made = await desk.make(desk.acme)
    assert await elsewhere.find(desk.acme.caller.tenant_id, "fireworks/accounts/llama") is None
    now = 0.5
    found = await elsewhere.find(desk.acme.caller.tenant_id, "fireworks/accounts/llama")
    assert found is not None and found[0] == made
    await desk.providers.delete(desk.acme, made.id)
    assert await elsewhere.find(desk.acme.caller.tenant_id, "fireworks/accounts/llama") is not None
    now = 2.6
    assert await elsewhere.find(desk.acme.caller.tenant_id, "fireworks/accounts/llama") is None


async def test_what_was_read_while_it_was_changed_is_read_again(desk: Desk) -> None:
    made = await desk.make(desk.acme)

    @asynccontextmanager
    async def changed_meanwhile(tenant_id: TenantId) -> AsyncIterator[Any]:
        async with desk.world.transactions(tenant_id) as tx:
            yield tx
        if await desk.names(desk.acme):
            await desk.providers.delete(desk.acme, made.id)

    desk.catalogue = Catalogue(changed_meanwhile, elapsed=lambda: 0.0)
    desk.providers = desk.service()
    tenant_id = desk.acme.caller.tenant_id
    assert [each.id for each in await desk.catalogue.list_enabled(tenant_id)] == [made.id]
    assert await desk.catalogue.list_enabled(tenant_id) == []


async def test_a_model_that_only_embeds_is_not_listed_as_one_that_answers(desk: Desk) -> None:
    embeds = ProviderModel("embed", embedding=Decimal("0.1"))
    free, both = ProviderModel("free"), ProviderModel("both", Decimal(1), embedding=Decimal(1), context_window=512)
    await desk.make(desk.acme, models=(embeds, free, both))
    tenant_id = desk.acme.caller.tenant_id
    listed = {each.name: each.context_window for each in await desk.models().list_models(tenant_id)}
    assert listed == {"fireworks/free": None, "fireworks/both": 512}
    with pytest.raises(ModelNotAllowed):
        await desk.models().find(tenant_id, "fireworks/embed")
    assert desk.prices.heard[-1][1] == (embeds, free, both)


async def test_a_fallback_model_that_is_not_there_is_said_in_health_and_log_until_it_is(desk: Desk) -> None:
    named = ForEverybody(desk.models(("gpt-4o",)), "FALLBACK_MODEL", "house/accounts/llama")
    with capture_logs() as logs:
        for _ in range(2):
            with pytest.raises(ModelNotAllowed, match="FALLBACK_MODEL"):
                await named.check()
    assert [(line["event"], line["model"]) for line in logs] == [("model.not_there", "house/accounts/llama")]
    await desk.make(desk.acme, name="house")
    with pytest.raises(ModelNotAllowed):
        await named.check()
    await desk.make(desk.platform, name="fireworks")
    await ForEverybody(desk.models(), "FALLBACK_MODEL", "fireworks/accounts/llama").check()
    await ForEverybody(desk.models(("gpt-4o",)), "FALLBACK_MODEL", "gpt-4o").check()
    desk.catalogue = Catalogue(nowhere)
    gone = desk.models()
    with pytest.raises(UpstreamUnavailable):
        await ForEverybody(gone, "FALLBACK_MODEL", "other/llama").check()


async def test_a_bare_name_never_needs_the_table(desk: Desk) -> None:
    def nobody(*_: Any) -> Any:
        raise AssertionError("the table was read")

    desk.catalogue = Catalogue(nobody)
    models = desk.models(("gpt-4o", "accounts/x"))
    for name in ("gpt-4o", "accounts/x"):
        assert (await models.find(desk.acme.caller.tenant_id, name)).provider == "openai"
    with pytest.raises(ModelNotAllowed):
        await models.find(desk.acme.caller.tenant_id, "gpt-5")


async def test_a_name_that_leads_inside_is_not_called_for_a_tenant(desk: Desk, stack: AsyncExitStack) -> None:
    stub = Stub()
    inside = (await stub.serve(stack)).replace("127.0.0.1", "localhost")
    port = int(inside.split(":")[2].removesuffix("/v1"))
    desk.policy = EgressPolicy(allow_http=True, ports=frozenset({port}))
    desk.providers = desk.service()
    made = await desk.make(desk.acme, base_url=inside)
    with pytest.raises(ProviderFailed):
        await desk.ask("fireworks/accounts/llama")
    assert (await desk.providers.check(desk.acme, made.id)).code == "unreachable"
    assert stub.heard == []


@pytest.mark.parametrize(
    ("status", "code"), [(200, "ok"), (401, "key_refused"), (404, "not_found"), (429, "rate_limited"), (503, "failing")]
)
async def test_a_check_says_what_is_wrong(desk: Desk, stack: AsyncExitStack, status: int, code: str) -> None:
    stub = Stub()
    made = await desk.make(desk.platform, base_url=await stub.serve(stack))
    stub.status = status
    outcome = await desk.providers.check(desk.platform, made.id)
    assert (outcome.code, outcome.status) == (code, status) and KEY not in outcome.detail
    with pytest.raises(ProviderOfPlatform):
        await desk.providers.check(desk.acme, made.id)
    unlisted = ProviderEdit({"models": (LLAMA, ProviderModel("lama"))})
    if status == 200:
        await desk.providers.change(desk.platform, made.id, unlisted)
        assert (await desk.providers.check(desk.platform, made.id)).unknown_models == ("lama",)


async def test_a_provider_that_fails_is_down_on_all_replicas_until_it_answers_again(
    desk: Desk, stack: AsyncExitStack
) -> None:
    stub, elsewhere = Stub(), RedisWatch(desk.redis)
    made = await desk.make(desk.platform, base_url=await stub.serve(stack))
    stub.status = 503
    for state in ("degraded", "degraded", "down"):
        with pytest.raises(ProviderError):
            await desk.ask("fireworks/accounts/llama")
        assert desk.watch.of(made.id).state == state
    assert elsewhere.of(made.id) == WELL
    await desk.watch.share()
    await elsewhere.share()
    health = elsewhere.of(made.id)
    assert (health.state, health.last_error) == ("down", "provider_error") and health.since is not None
    assert (await desk.models().find(desk.acme.caller.tenant_id, "fireworks/accounts/llama")).is_down
    pause = timedelta(minutes=5)
    here, there = (
        Probing(desk.world.transactions, desk.clients, watch, SystemClock(), pause=pause)
        for watch in (desk.watch, elsewhere)
    )
    stub.heard.clear()
    await here.sweep()
    await there.sweep()
    await here.sweep()
    assert len(stub.heard) == 1 and desk.watch.of(made.id).state == "down"
    await desk.watch.share()
    stub.status = 200
    await desk.redis.delete(f"chat:provider_probes:{made.id}")
    await there.sweep()
    assert elsewhere.of(made.id).state == "degraded"
    await elsewhere.share()
    await desk.watch.share()
    assert desk.watch.of(made.id).state == "degraded"
    assert await desk.ask("fireworks/accounts/llama") == "I am accounts/llama."
    await desk.watch.share()
    await elsewhere.share()
    assert desk.watch.of(made.id) == elsewhere.of(made.id) == WELL


async def test_being_too_fast_for_a_provider_does_not_make_it_one_that_is_down(
    desk: Desk, stack: AsyncExitStack
) -> None:
    stub = Stub()
    made = await desk.make(desk.platform, base_url=await stub.serve(stack))
    stub.status = 429
    for _ in range(5):
        with pytest.raises(ProviderError):
            await desk.ask("fireworks/accounts/llama")
    await desk.watch.share()
    assert (desk.watch.of(made.id).state, desk.watch.of(made.id).last_error) == ("degraded", "provider_rate_limited")
    await desk.providers.delete(desk.platform, made.id)
    assert desk.watch.of(made.id) == WELL


async def test_what_a_provider_refuses_does_not_make_it_one_that_is_down(desk: Desk, stack: AsyncExitStack) -> None:
    stub = Stub()
    made = await desk.make(desk.platform, base_url=await stub.serve(stack))
    stub.status = 400
    for _ in range(DOWN_AFTER + 1):
        with pytest.raises(ProviderRefused):
            await desk.ask("fireworks/accounts/llama")
    assert (desk.watch.of(made.id).state, desk.watch.of(made.id).last_error) == ("degraded", "provider_refused")


async def test_a_lack_of_room_here_is_no_providers_fault(desk: Desk, stack: AsyncExitStack) -> None:
    desk.clients = ProviderClients(desk.open, most=1)
    stack.push_async_callback(desk.clients.close)
    made, another = await desk.make(desk.acme), await desk.make(desk.acme, name="house")
    async with desk.clients.use(another):
        with pytest.raises(ProviderRateLimited):
            await desk.ask("fireworks/accounts/llama")
    assert desk.watch.of(made.id) == WELL


@pytest.mark.parametrize(
    ("patience", "state"), [(timedelta(hours=1), "ok"), (timedelta(), "degraded")], ids=["stopped", "waited"]
)
async def test_who_stops_an_answer_says_nothing_of_its_provider_and_who_has_waited_long_does(
    desk: Desk, stack: AsyncExitStack, patience: timedelta, state: str
) -> None:
    stub = Stub()
    made = await desk.make(desk.platform, base_url=await stub.serve(stack))
    stub.gate.clear()
    asking = asyncio.create_task(desk.ask("fireworks/accounts/llama", patience=patience))
    await stub.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    stub.gate.set()
    assert desk.watch.of(made.id).state == state


async def test_a_limit_on_one_tenants_key_marks_nobody_elses_provider(desk: Desk, stack: AsyncExitStack) -> None:
    stub, now = Stub(), datetime.now(UTC)
    base_url = await stub.serve(stack)
    desk.open_to(base_url)
    desk.watch = RedisWatch(desk.redis, lambda: now)
    own, others = [await desk.make(owner, base_url=base_url) for owner in (desk.acme, desk.other)]
    stub.status = 429
    for state in ("degraded", "down"):
        with pytest.raises(ProviderError):
            await desk.ask("fireworks/accounts/llama")
        await desk.watch.share()
        assert (desk.watch.of(own.id).state, desk.watch.of(others.id)) == (state, WELL)
        now += timedelta(seconds=61)
    for owner, is_down in ((desk.acme, True), (desk.other, False)):
        tenant_id = owner.caller.tenant_id
        assert (await desk.models().find(tenant_id, "fireworks/accounts/llama")).is_down is is_down


async def test_the_environments_provider_is_shown_to_operators_first_and_is_no_row(
    desk: Desk, stack: AsyncExitStack
) -> None:
    stub = Stub()
    environment = environments(await stub.serve(stack), "openai", ["gpt-4o"])
    desk.providers = desk.service(environment)
    made = await desk.make(desk.platform, name="house")
    assert await desk.providers.page(desk.platform, 9, None) == [environment, made]
    assert await desk.providers.page(desk.platform, 1, None) == [environment]
    assert await desk.providers.page(desk.platform, 9, environment.id) == [made]
    assert await desk.providers.page(desk.acme, 9, None) == [made]
    assert await desk.providers.get(desk.platform, environment.id) == environment
    assert (await desk.providers.check(desk.platform, environment.id)).unknown_models == ("gpt-4o",)
    desk.watch.failed(environment, "provider_error")
    assert desk.providers.health_of(environment).state == "degraded"
    for who in (desk.platform, desk.acme):
        with pytest.raises(ProviderNotFound):
            await desk.providers.change(who, environment.id, ProviderEdit({"is_enabled": False}))
    with pytest.raises(ProviderNotFound):
        await desk.providers.delete(desk.platform, environment.id)
    with pytest.raises(ProviderNotFound):
        await desk.providers.get(desk.acme, environment.id)


@pytest.mark.parametrize(
    "place", ["http://127.0.0.1:{port}/v1", "http://169.254.169.254/v1", "http://localhost:{port}/v1"]
)
async def test_a_redirect_of_a_tenants_provider_is_not_followed(desk: Desk, stack: AsyncExitStack, place: str) -> None:
    inside, outside = Stub(), Stub()
    port = int((await inside.serve(stack)).split(":")[2].removesuffix("/v1"))
    base_url = await outside.serve(stack)
    desk.open_to(base_url)
    made = await desk.make(desk.acme, base_url=base_url)
    outside.status, outside.location = 302, place.format(port=port) + "/chat/completions"
    with pytest.raises(ProviderError):
        await desk.ask("fireworks/accounts/llama")
    outside.status = 307
    with pytest.raises(ProviderError):
        await desk.ask("fireworks/accounts/llama")
    assert (await desk.providers.check(desk.acme, made.id)).code == "not_found"
    assert inside.heard == [] and len(outside.heard) == 3


async def test_clients_are_bounded_and_closed_when_unused(desk: Desk) -> None:
    now = 0.0
    closed: list[str] = []

    @asynccontextmanager
    async def open_one(provider: Provider) -> AsyncIterator[Any]:
        yield provider.name
        closed.append(f"{provider.name}{provider.revision}")

    clients = ProviderClients(open_one, most=2, idle=timedelta(seconds=60), elapsed=lambda: now)
    first, second, third = [
        await desk.make(owner, name=name) for owner, name in ((desk.acme, "a"), (desk.acme, "b"), (desk.acme, "c"))
    ]
    async with clients.use(first) as one, clients.use(second):
        assert one == "a"
        with pytest.raises(ProviderError):
            async with clients.use(third):
                raise AssertionError("there is no room")
    now = 1.0
    async with clients.use(second), clients.use(third):
        assert closed == ["a1"]
        async with clients.use(second):
            await clients.sweep()
    now = 62.0
    async with clients.use(third):
        await clients.sweep()
        assert closed == ["a1", "b1"]
    changed = await desk.providers.change(desk.acme, third.id, ProviderEdit({"models": ()}))
    async with clients.use(changed):
        await clients.sweep()
    assert closed == ["a1", "b1", "c1"]
    await clients.close()
    assert closed == ["a1", "b1", "c1", "c2"]


async def test_one_tenant_leaves_clients_to_the_others(desk: Desk) -> None:
    """Each change makes a new client, and answers that never end keep the old ones."""

    @asynccontextmanager
    async def open_one(provider: Provider) -> AsyncIterator[Any]:
        yield provider.name

    clients = ProviderClients(open_one, most=OF_ONE + 1)
    mine, others = await desk.make(desk.acme), await desk.make(desk.other)
    platforms = await desk.make(desk.platform, name="for-all")
    async with AsyncExitStack() as using:
        for revision in range(OF_ONE):
            await using.enter_async_context(clients.use(replace(mine, revision=revision)))
        with pytest.raises(ProviderRateLimited):
            await using.enter_async_context(clients.use(replace(mine, revision=OF_ONE)))
        await using.enter_async_context(clients.use(others))
        await using.enter_async_context(clients.use(platforms))


@pytest.mark.parametrize("key", ["k\u00e9y", "sk-1\r\nHost: inside", "\u202eyek", "two words", "sk\x00"])
async def test_a_key_that_no_header_can_say_is_refused(desk: Desk, stack: AsyncExitStack, key: str) -> None:
    with pytest.raises(ValueError, match="no key has"):
        NewProviderBody(name="acme", base_url="https://api.example.com/v1", api_key=SecretStr(key))
    desk.open_to(url := await Stub().serve(stack))
    before_that_rule = await desk.make(desk.acme, key=key, base_url=url)
    assert (await desk.providers.check(desk.acme, before_that_rule.id)).code in ("ok", "unreachable")


async def test_usage_knows_the_prices_before_anybody_can_ask(desk: Desk) -> None:
    desk.prices.away = True
    with pytest.raises(UpstreamUnavailable):
        await desk.make(desk.acme)
    assert await desk.names(desk.acme) == []
    desk.prices.away = False
    made = await desk.make(desk.acme)
    assert desk.prices.heard == [(made.book_name, (LLAMA,))]
    await desk.providers.change(desk.acme, made.id, ProviderEdit({"is_enabled": True}))
    assert len(desk.prices.heard) == 1
    desk.prices.away = True
    with pytest.raises(UpstreamUnavailable):
        await desk.providers.change(desk.acme, made.id, ProviderEdit({"models": ()}))
    assert (await desk.providers.get(desk.acme, made.id)).models == (LLAMA,)
    desk.prices.away = False
    await desk.providers.change(desk.acme, made.id, ProviderEdit({"models": ()}))
    assert desk.prices.heard[1:] == [(made.book_name, ())]


async def test_prices_of_a_change_that_was_not_committed_are_told_as_the_row_has_them(desk: Desk) -> None:
    async def fail(*_: Any) -> None:
        raise UpstreamUnavailable("The COMMIT failed.")

    with pytest.raises(UpstreamUnavailable):
        await desk.providers.create(desk.acme, new(), KEY, fail)
    assert len(desk.prices.heard) == 1 and await desk.names(desk.acme) == []
    await desk.upkeep.tell_prices()
    assert len(desk.prices.heard) == 1, "what is not there is not asked"
    made = await desk.make(desk.acme)
    dear = ProviderModel(LLAMA.name, Decimal(9), Decimal(9))
    desk.prices.falls_after = True
    with pytest.raises(UpstreamUnavailable):
        await desk.providers.change(desk.acme, made.id, ProviderEdit({"models": (dear,)}))
    desk.prices.falls_after = False
    assert desk.prices.heard[-1] == (made.book_name, (dear,)), "usage has prices of a change that is not there"
    await desk.upkeep.tell_prices()
    assert desk.prices.heard[-1] == (made.book_name, (LLAMA,))


async def test_prices_that_are_doubtful_do_not_wait_for_their_turn(desk: Desk) -> None:
    for number in range(12):
        await desk.make(desk.platform, name=f"p{number}")
    made = await desk.make(desk.acme)
    dear = ProviderModel(LLAMA.name, Decimal(9), Decimal(9))
    desk.prices.falls_after = True
    with pytest.raises(UpstreamUnavailable):
        await desk.providers.change(desk.acme, made.id, ProviderEdit({"models": (dear,)}))
    desk.prices.falls_after = False
    await desk.upkeep.tell_prices()
    told = [models for name, models in desk.prices.heard if name == made.book_name]
    assert told[-2:] == [(dear,), (LLAMA,)]


async def test_prices_that_a_process_died_over_are_told_in_a_round_over_all_rows(desk: Desk) -> None:
    owners = (("a", desk.acme), ("p", desk.platform), ("b", desk.other))
    made = [await desk.make(owner, name=f"{name}{n}") for n in range(6) for name, owner in owners]
    desk.prices.heard.clear()
    another = Upkeep(desk.world.transactions, desk.prices, desk.keys)
    for _ in range(2):
        await another.tell_prices()
    assert sorted(desk.prices.heard) == sorted((each.book_name, each.models) for each in made)
    desk.prices.away = True
    with pytest.raises(UpstreamUnavailable):
        await another.tell_prices()


async def test_another_internal_token_takes_over_the_keys_of_the_one_before(desk: Desk) -> None:
    made = await desk.make(desk.acme)
    shared, without = await desk.make(desk.platform, name="house"), await desk.make(desk.acme, None, name="bare")
    assert made.sealed_key is not None and shared.sealed_key is not None
    old = "the installation's secret, as long as it is"
    both, new_alone = (
        SealedKeys("another secret of the installation", old),
        SealedKeys("another secret of the installation"),
    )
    assert both.open(made.sealed_key, made.tenant_id, made.id) == KEY
    assert new_alone.open(made.sealed_key, made.tenant_id, made.id) is None
    for _ in range(2):
        await Upkeep(desk.world.transactions, desk.prices, both).seal_anew()
        for before in (made, shared):
            async with desk.world.transactions.system() as tx:
                after = await tx.providers.find_any(before.id)
            assert after is not None and after.sealed_key is not None and after.revision == before.revision
            assert new_alone.open(after.sealed_key, after.tenant_id, after.id) == KEY
            assert desk.keys.open(after.sealed_key, after.tenant_id, after.id) is None
    assert (await desk.providers.get(desk.acme, without.id)).sealed_key is None
