"""The paths of other products mean ours, before limits and permissions look at them."""

from typing import Any

import pytest
from services.gateway.tests.conftest import Gateway, OpenGateway
from services.gateway.tests.fakes import Behind

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


def test_every_alias_means_an_operation_and_the_document_names_it() -> None:
    document: dict[str, Any] = create_app(Settings.model_construct(frontend_origin="")).openapi()
    served = {(row.path, method) for row in TABLE for method in row.methods}
    for alias in ALIASES:
        for method in alias.methods:
            assert (alias.target, method) in served
            assert alias.path in document["paths"][alias.target][method.lower()]["x-aliases"]
    flow = document["components"]["securitySchemes"]["OAuth2Password"]["flows"]["password"]
    assert ("post", flow["tokenUrl"]) == ("post", "/v1/auth/token") and flow["tokenUrl"] in document["paths"]
    assert {"OAuth2Password": []} in document["paths"]["/v1/users/me"]["get"]["security"]
    assert document["paths"]["/v1/auth/token"]["post"]["security"] == []
