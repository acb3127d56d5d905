"""The paths of other products mean ours, before limits and permissions look at them."""

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import REGISTRY
from services.gateway.tests.conftest import PDF, Gateway, OpenGateway
from services.gateway.tests.fakes import Behind
from yarl import URL

from docuchat_gateway.app import create_app
from docuchat_gateway.edge.aliases.middleware import TABLE as ALIASES
from docuchat_gateway.edge.table import TABLE
from docuchat_gateway.settings import Settings


@pytest.mark.parametrize("path", ["/auth/register", "/auth/login", "/auth/token"])
async def test_a_foreign_path_is_passed_on_as_ours(path: str, open_gateway: OpenGateway, behind: Behind) -> None:
    async with open_gateway(auth_url=behind.url, rate_limit_per_address=600) as gateway:
        body = b"username=ann%40example.com&password=secret"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = await gateway.call("POST", f"{path}?a=%20", data=body, headers=form)
        (seen,) = behind.seen

        assert answer.status == 200
        assert (seen.raw_path, behind.bodies) == (f"/v1{path}?a=%20", [body])
        assert seen.headers["Content-Type"] == form["Content-Type"]
        assert "RateLimit-Limit" in answer.headers
        assert (await gateway.call("GET", path)).status in (404, 405)


async def test_a_foreign_path_asks_for_the_same_credential(gateway: Gateway) -> None:
    assert (await gateway.call("GET", "/users/me")).status == 401
    assert (
        await gateway.call("GET", "/users/me", headers=gateway.headers())
    ).status == 404  # auth here serves keys only


async def test_addresses_are_limited_at_a_foreign_path(open_gateway: OpenGateway, behind: Behind) -> None:
    async with open_gateway(auth_url=behind.url, rate_limit_per_address=2) as gateway:
        paths = ("/auth/login", "/auth/login", "/v1/auth/login")
        answers = [await gateway.call("POST", path, data=b"{}") for path in paths]
        assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]


async def test_a_customer_of_any_letters_is_another_tenant(gateway: Gateway) -> None:
    path = URL.build(path=f"/api/سلام/{CHAT['id']}/query")
    answer = await gateway.call("POST", path, json={"query": "?"}, headers=gateway.headers())
    assert (answer.status, (await answer.json())["code"]) == (403, "tenant_mismatch")


async def test_what_is_asked_at_a_foreign_path_is_counted_as_ours(gateway: Gateway) -> None:
    answer = await gateway.call("DELETE", f"/chats/{CHAT['id']}", headers=gateway.headers())
    labels = {"method": "DELETE", "route": "/v1/chats/{chat_id}", "status": str(answer.status)}
    assert REGISTRY.get_sample_value("docuchat_http_requests_total", labels)


CHAT = {
    "id": "0198b3c0-0000-7000-8000-000000000001",
    "session_id": "s",
    "title": None,
    "created_at": "2026-09-01T10:00:00Z",
    "updated_at": "2026-09-01T11:00:00Z",
    "message_count": 1,
}
MESSAGE = {
    "id": "0198b3c0-0000-7000-8000-000000000002",
    "chat_id": CHAT["id"],
    "role": "user",
    "content": "See this.",
    "citations": [],
    "usage": None,
    "model": None,
    "status": "complete",
    "metadata": {"file_name": "a.pdf", "lang": "en"},
    "created_at": "2026-09-01T10:00:00Z",
}


def answering(behind: Behind, body: Any, status: int = 200) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    behind.answer = answer


async def test_a_list_is_answered_in_their_fields_and_links_to_its_next_page(gateway: Gateway, behind: Behind) -> None:
    answering(behind, {"items": [CHAT], "next_cursor": "abc"})
    answer = await gateway.call("GET", "/chats?limit=1&search=%C3%A4%26b", headers=gateway.headers())

    assert behind.seen[0].raw_path == "/v1/chats?limit=1&q=%C3%A4%26b"
    assert await answer.json() == [
        {
            "id": CHAT["id"],
            "user_id": str(gateway.user),
            "title": "",
            "created_at": CHAT["created_at"],
            "updated_at": CHAT["updated_at"],
        }
    ]
    assert answer.headers["Link"] == '</chats?limit=1&search=%C3%A4%26b&cursor=abc>; rel="next"'


async def test_bodies_become_ours_and_answers_theirs(gateway: Gateway, behind: Behind) -> None:
    answering(behind, MESSAGE, 201)
    sent = {
        "chat_id": CHAT["id"],
        "type": "user",
        "content": "See this.",
        "file_name": "a.pdf",
        "file_url": None,
        "metadata": {"lang": "en"},
    }
    answer = await gateway.call("POST", "/messages", json=sent, headers=gateway.headers())

    assert json.loads(behind.bodies[0]) == {
        "chat_id": CHAT["id"],
        "content": "See this.",
        "metadata": {"file_name": "a.pdf", "lang": "en"},
    }
    assert answer.status == 201
    assert await answer.json() == {
        "id": MESSAGE["id"],
        "chat_id": CHAT["id"],
        "type": "user",
        "content": "See this.",
        "file_name": "a.pdf",
        "file_url": None,
        "metadata": {"lang": "en"},
        "created_at": MESSAGE["created_at"],
    }


async def test_an_answer_that_comes_elsewhere_is_told_as_ours_says_it(gateway: Gateway, behind: Behind) -> None:
    begun = {"turn_id": CHAT["id"], "chat_id": MESSAGE["id"]}
    answering(behind, begun, 202)
    asked = {"content": "How long?", "detach": True}
    answer = await gateway.call("POST", "/chat", json=asked, headers=gateway.headers())
    assert json.loads(behind.bodies[0]) == {"message": "How long?", "detach": True}
    assert (answer.status, await answer.json()) == (202, begun)


async def test_what_they_ask_and_ours_does_not_have_is_refused_by_ours(gateway: Gateway, behind: Behind) -> None:
    problem = {"type": "about:blank", "title": "No", "status": 422, "code": "invalid", "detail": "No."}
    answering(behind, problem, 422)
    answer = await gateway.call("POST", "/messages", json={"type": "bot"}, headers=gateway.headers())
    assert (answer.status, await answer.json()) == (422, problem)
    assert json.loads(behind.bodies[0]) == {"type": "bot"}

    for body in (b"{", b"[1]", b""):
        await gateway.call("POST", "/messages", data=body, headers=gateway.headers())
    assert behind.bodies[1:] == [b"{", b"[1]", b""]


async def test_a_body_is_read_only_of_who_may_send_it_and_so_far_as_ours_is(gateway: Gateway, behind: Behind) -> None:
    refused = await gateway.call("POST", "/chats/x%2Fy", data=b"{}")
    assert refused.status in (404, 405)
    assert (await gateway.call("POST", "/chat", data=b" " * 2**20)).status == 401
    long = await gateway.call("POST", "/chat", data=b" " * 2**20, headers=gateway.headers())
    assert (long.status, behind.seen) == (413, [])


async def test_a_parameter_of_a_path_stays_one(gateway: Gateway, behind: Behind) -> None:
    await gateway.call("DELETE", URL("/chats/..%3F%23", encoded=True), headers=gateway.headers())
    assert behind.seen[0].raw_path == "/v1/chats/..%3F%23"


async def test_an_upload_is_answered_in_their_fields(gateway: Gateway) -> None:
    form = aiohttp.FormData()
    form.add_field("file", PDF, filename="a.pdf")
    answer = await gateway.call("POST", "/files/upload", data=form, headers=gateway.headers())
    row = await answer.json()
    assert answer.status == 202
    assert (row["original_name"], row["file_size"], row["content_type"]) == ("a.pdf", len(PDF), "application/pdf")
    assert (row["user_id"], row["processed"], row["extraction_text"]) == (str(gateway.user), False, None)
    assert (await gateway.call("GET", row["file_url"], headers=gateway.headers())).status == 200


def test_every_alias_means_an_operation_and_the_document_names_it() -> None:
    document: dict[str, Any] = create_app(Settings.model_construct(frontend_origin="")).openapi()
    own = {("/v1/files", "POST"), ("/healthz", "GET")}
    own |= {("/v1/chatbots/{chatbot_id}/documents", "POST"), ("/v1/chatbots/{chatbot_id}/snippet", "GET")}
    served = own | {(row.path, method) for row in TABLE for method in row.methods}
    for alias in ALIASES:
        for method in alias.methods:
            assert (alias.target, method) in served
            assert alias.path in document["paths"][alias.target][method.lower()]["x-aliases"]
    flow = document["components"]["securitySchemes"]["OAuth2Password"]["flows"]["password"]
    assert ("post", flow["tokenUrl"]) == ("post", "/v1/auth/token") and flow["tokenUrl"] in document["paths"]
    assert {"OAuth2Password": []} in document["paths"]["/v1/users/me"]["get"]["security"]
    assert document["paths"]["/v1/auth/token"]["post"]["security"] == []
