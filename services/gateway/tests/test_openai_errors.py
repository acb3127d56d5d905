"""Refusals at the paths of OpenAI's clients: in their words, whoever refuses."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from aiohttp import web
from services.gateway.tests.conftest import Gateway
from services.gateway.tests.fakes import Behind

from docuchat_common.contracts.openai_errors import openai_error
from docuchat_common.http.json_body import LONG_CONVERSATION
from docuchat_common.http.problems import PROBLEM_JSON

PATH = "/v1/chat/completions"


async def test_what_the_gateway_refuses_is_an_error_of_theirs(gateway: Gateway) -> None:
    for method, path, headers, status, code in (
        ("POST", PATH, {}, 401, "unauthenticated"),
        ("GET", "/v1/models", {"Authorization": "Bearer dck_junk"}, 401, "invalid_api_key"),
        ("GET", "/v1/models/chatbot%2Fx", {}, 401, "unauthenticated"),
        ("GET", PATH, gateway.headers(), 405, "method_not_allowed"),
        ("POST", PATH, gateway.headers(role="nobody"), 403, "not_allowed"),
    ):
        async with gateway.http.request(method, path, headers=headers) as response:
            told = await response.json()
            assert response.content_type == "application/json" and response.headers["X-Request-ID"]
        assert (response.status, told["error"]["code"]) == (status, code), told
        assert set(told) == {"error"} and told["error"]["message"]
    too_long = io.BytesIO(b" " * (LONG_CONVERSATION + 1))
    async with gateway.http.post(PATH, headers=gateway.headers(), data=too_long) as response:
        assert response.status == 413 and (await response.json())["error"]["type"] == "invalid_request_error"
    async with gateway.http.post("/v1/chat") as response:
        assert response.content_type == PROBLEM_JSON


@pytest.mark.parametrize(
    ("status", "retry_after", "expected", "kind", "should_retry"),
    [
        (422, None, 400, "invalid_request_error", None),
        (429, "5", 429, "rate_limit_error", None),
        (429, "3600", 429, "rate_limit_error", "false"),
        (409, None, 409, "invalid_request_error", "false"),
        (409, "1", 409, "invalid_request_error", None),
        (503, "2", 503, "server_error", None),
    ],
)
async def test_what_a_service_refuses_is_told_again_in_their_words(
    gateway: Gateway,
    behind: Behind,
    status: int,
    retry_after: str | None,
    expected: int,
    kind: str,
    should_retry: str | None,
) -> None:
    problem = {"status": status, "code": "some_code", "detail": "So it is.", "param": "n", "limit": 3}

    async def refuse(_: web.Request) -> web.Response:
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return web.Response(body=json.dumps(problem), status=status, content_type=PROBLEM_JSON, headers=headers)

    behind.answer = refuse
    response = await gateway.call("POST", PATH, headers=gateway.headers(), json={})
    assert response.status == expected
    assert await response.json() == {
        "error": {"message": "So it is.", "type": kind, "param": "n", "code": "some_code", "docuchat": {"limit": 3}}
    }
    assert response.headers.get("x-should-retry") == should_retry
    assert response.headers.get("Retry-After") == retry_after


async def test_a_stream_that_breaks_off_says_so_in_their_words(gateway: Gateway, behind: Behind) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Turn-ID": "t"})
        await response.prepare(request)
        await response.write(b'data: {"choices":[]}\n\n')
        assert request.transport is not None
        request.transport.abort()
        return response

    behind.answer = cut
    async with gateway.http.post(PATH, headers=gateway.headers(), json={}) as response:
        body = await response.read()
    error = json.loads(body.rsplit(b"data: ", 1)[1])["error"]
    assert b"event:" not in body and (error["code"], error["type"]) == ("upstream_unavailable", "server_error")
    assert error["docuchat"] == {"turn_id": "t"}

    async with gateway.http.post("/v1/responses", headers=gateway.headers(), json={}) as response:
        *_, name, data = (await response.read()).strip().split(b"\n")
    event = json.loads(data.removeprefix(b"data: "))
    assert (name, event["type"], event["code"], event["error"]) == (b"event: error", "error", error["code"], error)
    assert event["sequence_number"] == -1, "the response goes on elsewhere"


@pytest.mark.parametrize(
    ("extensions", "param"),
    [
        ({"errors": [{"field": "body.temperature", "problem": "x"}]}, "temperature"),
        ({"errors": [{"field": "body", "problem": "x"}]}, None),
        ({"errors": []}, None),
        ({"param": "messages[0].role", "errors": [{"field": "body.n"}]}, "messages[0].role"),
        ({}, None),
    ],
)
def test_the_parameter_that_is_meant_is_named(extensions: dict[str, Any], param: str | None) -> None:
    assert openai_error(422, "invalid_input", "x", extensions)["param"] == param
