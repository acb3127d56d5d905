"""What operators see and do."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from aiohttp import test_utils, web
from services.gateway.tests.conftest import Gateway, OpenGateway
from services.gateway.tests.fakes import Behind

LETTER = {"queue": "usage.usage.recorded.v1", "type": "usage.recorded.v1", "reason": "invalid", "count": 3}


def operator_headers(gateway: Gateway) -> dict[str, str]:
    claims = {"typ": "operator", "scope": "operator", "tenant": None, "tenant_slug": None, "role": None, "email": None}
    return gateway.mint.headers(user_id=gateway.user, claims=claims)


async def test_an_operators_paths_are_for_operators_only(gateway: Gateway) -> None:
    got = {}
    for method, path in (
        ("GET", "status"),
        ("GET", "dead-letters"),
        ("POST", "dead-letters/replay"),
        ("POST", "dead-letters/discard"),
        ("POST", "documents/reembed"),
        ("POST", "documents/recount"),
        ("GET", "pauses"),
        ("DELETE", "pauses"),
        ("GET", "tenants"),
    ):
        user = await gateway.call(method, f"/v1/operator/{path}", json={}, headers=gateway.headers(role="owner"))
        got[method, path] = user.status, (await user.json())["code"]
    assert set(got.values()) == {(403, "operator_required")}
    files = await gateway.call("GET", "/v1/files", headers=operator_headers(gateway))
    assert (files.status, (await files.json())["code"]) == (401, "operator_token")


async def test_dead_letters_of_all_services_are_listed_and_brought_back(
    open_gateway: OpenGateway, behind: Behind
) -> None:
    asked: list[tuple[str, Any]] = []

    async def internal(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            asked.append((request.path, await request.json()))
            if asked[-1][1]["queue"] == "usage.no-such.v1":
                return web.json_response({"code": "queue_not_found", "detail": "There is no such queue."}, status=404)
            return web.json_response({"replayed": 3, "discarded": 4})
        return web.json_response({"items": [LETTER | {"oldest_seconds": 5.0}]})

    behind.internal = internal  # type: ignore[method-assign]  # a fake answers as the test likes
    async with open_gateway(ingest_url="http://127.0.0.1:9") as gateway:
        headers = operator_headers(gateway)
        listed = await (await gateway.call("GET", "/v1/operator/dead-letters", headers=headers)).json()
        one = {"service": "usage", "queue": LETTER["queue"]}
        path = "/v1/operator/dead-letters/replay"
        replayed = await (await gateway.call("POST", path, json=one, headers=headers)).json()
        unknown = await gateway.call("POST", path, json={"service": "nobody"}, headers=headers)
        discard = "/v1/operator/dead-letters/discard"
        discarded = await gateway.call("POST", discard, json={"queue": LETTER["queue"]}, headers=headers)
        wrong = [
            await (await gateway.call("POST", path, json=body, headers=headers)).json()
            for path in (path, discard)
            for body in ({"queue": "nobody"}, {"queue": "usage.no-such.v1"})
        ]
        typo = await gateway.call("POST", path, json={"servise": "usage"}, headers=headers)

    assert [(item["service"], item["count"]) for item in listed["items"]] == [("chat", 3), ("usage", 3)]
    assert listed["unanswered"] == ["auth", "ingest"], "the auth of these tests only has keys"
    assert replayed == {"replayed": {"usage": 3}, "unanswered": []}
    assert asked[0] == ("/internal/dead-letters/replay", {"queue": LETTER["queue"]})
    assert asked[1] == ("/internal/dead-letters/discard", {"queue": LETTER["queue"]})
    assert (await discarded.json()) == {"discarded": 4}
    assert {(answer["status"], answer["code"]) for answer in wrong} == {(404, "queue_not_found")}
    assert (unknown.status, (await unknown.json())["code"]) == (404, "service_unknown")
    assert typo.status == 422
    assert "servise" in json.dumps(await typo.json())


@pytest.mark.parametrize("wrong", ["404", "500", "no list"])
async def test_a_service_that_answers_wrongly_is_named_and_the_others_are_listed(
    open_gateway: OpenGateway, behind: Behind, wrong: str
) -> None:
    async def internal(request: web.Request) -> web.StreamResponse:
        if wrong == "no list":
            return web.json_response({"letters": 3})
        return web.json_response({"detail": "no"}, status=int(wrong))

    async def letters(_: web.Request) -> web.StreamResponse:
        return web.json_response({"items": [LETTER | {"oldest_seconds": 5.0}]})

    behind.internal = internal  # type: ignore[method-assign]  # a fake answers as the test likes
    app = web.Application()
    app.router.add_get("/internal/dead-letters", letters)
    async with test_utils.TestServer(app) as usage, open_gateway(usage_url=str(usage.make_url("/"))) as gateway:
        headers = operator_headers(gateway)
        listed = await gateway.call("GET", "/v1/operator/dead-letters", headers=headers)
        status = await gateway.call("GET", "/v1/operator/status", headers=headers)
        found = await listed.json()

    assert ([item["service"] for item in found["items"]], found["unanswered"]) == (
        ["usage"],
        ["auth", "chat", "ingest"],
    )
    assert (status.status, (await status.json())["dead_letters"]) == (200, None)


async def test_status_says_within_seconds_who_does_not_answer_and_what_fails(open_gateway: OpenGateway) -> None:
    thawed = asyncio.Event()
    failing = {"postgres": "failing (PostgreSQL does not answer)", "rabbitmq": "ok"}

    async def frozen(_: web.Request) -> web.StreamResponse:
        await thawed.wait()
        return web.Response()

    async def unwell(request: web.Request) -> web.StreamResponse:
        if request.path == "/internal/dead-letters":
            return web.json_response({"items": []})
        return web.json_response({"status": "degraded", "checks": failing}, status=503)

    def serving(answer: Any) -> test_utils.TestServer:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        return test_utils.TestServer(app)

    async with serving(frozen) as chat, serving(unwell) as usage:
        urls = {"chat_url": str(chat.make_url("/")), "usage_url": str(usage.make_url("/"))}
        async with open_gateway(**urls, ingest_url="http://127.0.0.1:9") as gateway:
            began = time.monotonic()
            answer = await gateway.call("GET", "/v1/operator/status", headers=operator_headers(gateway))
            took = time.monotonic() - began
            status = await answer.json()
            thawed.set()

    found = {part["name"]: (part["ready"], part["checks"]) for part in status["parts"]}
    assert found["chat"] == found["ingest-worker"] == (False, {})
    assert found["usage"] == (False, failing)
    assert (status["dead_letters"], status["unanswered"]) == (None, ["auth", "chat", "ingest-worker"])
    assert took < 10  # the frozen one would have it wait until it is thawed


async def test_a_pause_of_a_provider_is_shown_and_ended(gateway: Gateway) -> None:
    redis = gateway.container.operator._redis
    headers = operator_headers(gateway)
    await redis.set("docuchat:throttle:account", "openai", px=60_000)
    shown = await (await gateway.call("GET", "/v1/operator/pauses", headers=headers)).json()
    ended = await gateway.call("DELETE", "/v1/operator/pauses", headers=headers)
    status = await (await gateway.call("GET", "/v1/operator/status", headers=headers)).json()
    queued = await gateway.call("POST", "/v1/operator/documents/reembed", json={}, headers=headers)

    assert [pause["provider"] for pause in shown["items"]] == ["openai"]
    assert ended.status == 204
    assert status["pauses"] == 0
    assert {part["name"] for part in status["parts"]} == {"gateway", "auth", "chat", "usage", "ingest-worker"}
    assert status["outdated_documents"] == 0
    assert (queued.status, await queued.json()) == (200, {"queued": 0})


async def test_what_an_operator_does_is_told_before_it_is_done(gateway: Gateway, behind: Behind) -> None:
    told: list[Any] = []

    async def internal(_: web.Request) -> web.StreamResponse:
        last = "SELECT convert_from(body, 'UTF8')::jsonb -> 'data' ->> 'action' FROM knowledge.outbox ORDER BY id DESC"
        told.append(await gateway.fetchval(last))
        return web.json_response({}, status=500)

    behind.internal = internal  # type: ignore[method-assign]  # a fake answers as the test likes
    headers, body = operator_headers(gateway), {"queue": LETTER["queue"]}
    for act in ("discard", "replay"):
        await gateway.call("POST", f"/v1/operator/dead-letters/{act}", json=body, headers=headers)
    assert told == ["dead_letters.discard", "dead_letters.replay"]
