"""The two tables at the edges: category → status, category → fate of a message; and that no input is echoed."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import httpx2
import pytest
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from docuchat_common import errors
from docuchat_common.http.app import create_service_app
from docuchat_common.http.client import error_from_response
from docuchat_common.http.health import Check
from docuchat_common.http.json_body import SHORT_BODY, JsonRoute
from docuchat_common.http.problems import MOST_ERRORS, STATUS, status_of
from docuchat_common.messaging.fates import Outcome, outcome_of


@dataclass(frozen=True)
class _Container:
    checks: dict[str, Check] = field(default_factory=dict)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int
    text: str = ""


class TooFast(errors.RateLimited):
    """Slow down."""

    code = "too_fast"


router = APIRouter(route_class=JsonRoute)


@router.post("/numbers")
async def post_number(body: _Body) -> dict[str, int]:
    return {"number": body.number}


@router.get("/limited")
async def limited(page: int = 1) -> None:
    raise TooFast(retry_after=timedelta(seconds=1.2), limit=50)


@router.get("/broken")
async def broken() -> None:
    raise ValueError("a secret that must stay inside")


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    @asynccontextmanager
    async def open_container(_: None) -> AsyncIterator[_Container]:
        yield _Container()

    app = create_service_app(None, title="test", routers=[router], open_container=open_container)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client,
    ):
        yield client


@pytest.mark.parametrize("category", list(STATUS))
def test_every_category_has_a_status_and_its_docstring_as_message(category: type[errors.DocuChatError]) -> None:
    error = category()
    assert 400 <= status_of(error) <= 507
    assert error.detail == (category.__doc__ or "").strip().splitlines()[0]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (errors.UpstreamUnavailable(), Outcome.RETRY),
        (errors.StorageFull(), Outcome.RETRY),
        (TooFast(), Outcome.RETRY),
        (ValueError(), Outcome.RETRY),
        (errors.InvalidInput(), Outcome.DEAD_LETTER),
        (errors.NotFound(), Outcome.DEAD_LETTER),
    ],
)
def test_what_may_heal_is_retried_and_what_cannot_is_dead_lettered(error: Exception, outcome: Outcome) -> None:
    assert outcome_of(error) is outcome


async def test_an_expected_error_is_a_problem_with_retry_after_rounded_up(client: httpx2.AsyncClient) -> None:
    response = await client.get("/limited")
    assert response.status_code == 429
    assert response.headers["retry-after"] == "2"
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["code"], body["limit"], body["detail"]) == ("too_fast", 50, "Slow down.")
    assert body["request_id"] == response.headers["x-request-id"]


async def test_invalid_input_names_the_field_and_does_not_echo_the_value(client: httpx2.AsyncClient) -> None:
    response = await client.post("/numbers", json={"number": "hunter2"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "body.number"
    assert "hunter2" not in response.text


@pytest.mark.parametrize(
    "body",
    [b'{"number": NaN}', b'{"number": 1, "text": "\\ud800"}', b'{"number": 1, "\\udfff": 1}', b'{"number": "\xff"}'],
)
async def test_what_is_no_interchangeable_json_is_invalid_input(client: httpx2.AsyncClient, body: bytes) -> None:
    response = await client.post("/numbers", content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (422, "invalid_input")


async def test_an_unknown_error_shows_no_trace_and_no_message(client: httpx2.AsyncClient) -> None:
    response = await client.get("/broken")
    assert response.status_code == 500
    assert response.json()["code"] == "internal_error"
    assert "secret" not in response.text
    assert "Traceback" not in response.text


async def test_unknown_paths_and_methods_are_problems(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/nowhere")).json()["code"] == "not_found"
    assert (await client.get("/numbers")).json()["code"] == "method_not_allowed"


async def test_a_given_request_id_is_kept_when_it_is_harmless(client: httpx2.AsyncClient) -> None:
    assert (await client.get("/livez", headers={"x-request-id": "abc-1"})).headers["x-request-id"] == "abc-1"
    assert (await client.get("/livez", headers={"x-request-id": "a b{}"})).headers["x-request-id"] != "a b{}"


def test_a_problem_of_another_service_comes_back_as_the_same_error() -> None:
    body = b'{"code":"quota_exceeded","detail":"used up","resets_at":"2030-01-01T00:00:00Z"}'
    error = error_from_response(429, body, {"Retry-After": "7"}, "usage")
    assert isinstance(error, errors.QuotaExceeded)
    assert error.retry_after == timedelta(seconds=7)
    assert error.extensions == {"resets_at": "2030-01-01T00:00:00Z"}
    assert isinstance(error_from_response(500, b"<html>", {}, "usage"), errors.UpstreamUnavailable)
    assert isinstance(error_from_response(507, b"{}", {}, "usage"), errors.StorageFull)
    assert error_from_response(404, b'{"code":"chat_not_found"}', {}, "chat").code == "chat_not_found"


async def test_of_many_unknown_fields_a_few_are_told_and_none_at_length(client: httpx2.AsyncClient) -> None:
    surplus = {f"k{place}": place for place in range(3_000)}
    response = await client.post("/numbers", json={"k" * 10_000: 0, **surplus, "number": 1})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]][1:3] == ["body.k0", "body.k1"]
    assert len(response.json()["errors"]) == MOST_ERRORS
    assert len(response.content) < 4_000


async def test_a_body_that_is_longer_than_its_route_takes_is_not_read(client: httpx2.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b'{"number": 1, "text": "'
        while True:
            yield b"x" * 10_000

    declared = await client.post("/numbers", json={"number": 1, "text": "x" * SHORT_BODY})
    streamed = await client.post("/numbers", content=endless(), headers={"Content-Type": "application/json"})
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert declared.json()["max_bytes"] == SHORT_BODY


async def test_a_parameter_that_nobody_knows_is_named_and_not_ignored(client: httpx2.AsyncClient) -> None:
    response = await client.get("/limited", params={"page": 1, "pages": 2})
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "query.pages", "problem": "there is no such parameter"}]
    assert (await client.get("/limited", params={"page": 1})).status_code == 429
