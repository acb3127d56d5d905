"""The recipes for providers of models: a product with the printed settings, against what behaves as they do."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Call, Rule
from docuchat_testkit.recipes import headings, printed
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_PAGE = "models"
_IN_COMMON = "What all have in common"
_TEXT = "The warranty of the kettle lasts 36 months."
_QUESTION = "How long does the warranty of the kettle last?"
_LONGEST = {"max_tokens", "max_completion_tokens"}
_EGRESS = {"EGRESS_ALLOW_HTTP": "true", "EGRESS_NETWORKS": "127.0.0.0/8", "EGRESS_HOSTS": "127.0.0.1"}
"""The stand-in of a public address is on this machine."""


@dataclass(frozen=True)
class Behaviour:
    """How a provider's own documents say that it behaves."""

    path: str
    rule: Rule
    refusals: int = 0
    """Questions that it refuses before it takes one."""
    prefixes: tuple[str, str] = ("", "")
    """What its embedding model wants before a question and a passage."""
    by_operator: bool = False
    """Whether its row is one of the platform's."""


BEHAVIOURS = {
    "Ollama": Behaviour(
        "/v1",
        Rule(endpoint="chat", ignores=("max_completion_tokens", "user")),
        prefixes=("search_query: ", "search_document: "),
        by_operator=True,
    ),
    "vLLM": Behaviour("/v1", Rule(endpoint="chat"), by_operator=True),
    "Fireworks": Behaviour(
        "/inference/v1",
        Rule(endpoint="chat", usage_in_end=True),
        prefixes=("search_query: ", "search_document: "),
    ),
    "Claude": Behaviour(
        "/v1",
        Rule(endpoint="chat", refuses=("temperature",), ignores=("user",)),
        refusals=1,
        prefixes=("search_query: ", "search_document: "),
    ),
    # The address says nothing here, so that the newer name is found out by the refusal of the older one.
    "Azure OpenAI": Behaviour("/openai/v1", Rule(endpoint="chat", refuses=("max_tokens",)), refusals=1),
}


def at(address: str, stub: StubProviderHandle) -> str:
    """The address with its path, where the stand-in is."""
    scheme, place, *_ = urlsplit(stub.url)
    return urlunsplit(urlsplit(address)._replace(scheme=scheme, netloc=place))


def settings_of(provider: str, stub: StubProviderHandle) -> dict[str, str]:
    (text,) = printed(_PAGE, provider, "dotenv")
    given = dict(line.split("=", 1) for line in text.splitlines())
    return {name: at(value, stub) if name.endswith("_URL") else value for name, value in given.items()}


def row_of(provider: str, stub: StubProviderHandle) -> dict[str, Any]:
    (text,) = printed(_PAGE, provider, "json")
    row = json.loads(text)
    return {**row, "base_url": at(row["base_url"], stub)}


@pytest.fixture(params=BEHAVIOURS)
def recipe(
    request: pytest.FixtureRequest,
    breakable_servers: TestServers,
    stub_provider_process: StubProviderHandle,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, Product]]:
    """A recipe, and a product with its settings."""
    stub_provider_process.reset()
    settings = settings_of(request.param, stub_provider_process)
    folder = tmp_path_factory.mktemp("recipe")
    with started_test_product(folder, breakable_servers, redis_number=5, settings=settings | _EGRESS) as product:
        yield request.param, product


@asynccontextmanager
async def provider_row(
    product: Product, user: User, body: Mapping[str, Any], *, by_operator: bool
) -> AsyncIterator[str]:
    """What the models of a row begin with, as long as the row is there."""
    async with product.client() as http:
        if by_operator:
            key = json.loads((product.running.folder / "operator.json").read_text())["key"]
            token = (await http.post("/v1/operator/token", json={"key": key})).json()["access_token"]
            http.headers["Authorization"] = f"Bearer {token}"
            path = "/v1/operator/providers"
        else:
            http.headers.update(user.headers)
            path = "/v1/providers"
        made = await http.post(path, json=body)
        assert made.status_code == 201, made.text
        yield made.json()["name"]
        gone = await http.delete(f"{path}/{made.json()['id']}")
        assert gone.status_code == 204, gone.text


async def ask(user: User, model: str) -> str:
    """Ask, insist on a citation, and return the answer."""
    body = {"model": model, "messages": [{"role": "user", "content": _QUESTION}], "temperature": 0.2}
    response = await user.http.post("/v1/chat/completions", json=body)
    assert response.status_code == 200, response.text
    (citation,) = response.json()["docuchat"]["citations"]
    assert citation["quote"] == _TEXT and citation["page"] == 1
    return str(response.json()["choices"][0]["message"]["content"])


def chats(stub: StubProviderHandle) -> list[Call]:
    return [call for call in stub.calls() if call.endpoint == "chat"]


def check_asked(stub: StubProviderHandle, behaviour: Behaviour, model: str, key: str, *, header: str) -> None:
    """The provider was asked as it wants to be, and took the last request."""
    asked = chats(stub)
    assert [call.outcome for call in asked] == ["rejected"] * behaviour.refusals + ["stop"]
    for call in asked:
        assert call.path.partition("?")[0] == f"{behaviour.path}/chat/completions"
        assert (call.model, call.key, call.key_header) == (model, key, header)
        assert call.stream and len(_LONGEST & set(call.parameters)) == 1
    taken = set(asked[-1].parameters)
    assert not taken & set(behaviour.rule.refuses)
    assert _LONGEST & taken - set(behaviour.rule.ignores), "nothing bounds the answer"


async def booked(product: Product, user: User) -> dict[str, tuple[int, int, bool]]:
    """Tokens of the tenant's answers and whether they are estimated, by provider."""
    async with product.database() as connection:
        rows = await connection.fetch(
            "SELECT provider, input_tokens, output_tokens, estimated FROM usage.ledger "
            "WHERE tenant_id = $1 AND kind = 'chat'",
            user.tenant_id,
        )
    return {row["provider"]: (row["input_tokens"], row["output_tokens"], row["estimated"]) for row in rows}


def test_each_recipe_is_run() -> None:
    assert [heading for heading in headings(_PAGE) if heading != _IN_COMMON] == list(BEHAVIOURS)


async def test_the_printed_settings_answer_with_a_citation_and_are_booked(
    recipe: tuple[str, Product], stub_provider_process: StubProviderHandle
) -> None:
    (provider, product), stub = recipe, stub_provider_process
    behaviour, settings = BEHAVIOURS[provider], settings_of(provider, stub)
    stub.control(behaviour.rule)
    async with product.user(await product.new_tenant()) as user:
        await user.ready(small_pdf((_TEXT,)))
        assert "36 months" in await ask(user, settings["OPENAI_MODEL"])
        check_asked(stub, behaviour, settings["OPENAI_MODEL"], settings["OPENAI_API_KEY"], header="authorization")

        embedded = [call for call in stub.calls() if call.endpoint == "embeddings"]
        assert {call.model for call in embedded} == {settings["EMBEDDING_MODEL"]}
        of_embeddings = settings.get("EMBEDDING_API_KEY", settings["OPENAI_API_KEY"])
        assert {call.key for call in embedded} == {of_embeddings}
        question, passage = behaviour.prefixes
        texts = {call.last_message for call in embedded}
        assert f"{question}{_QUESTION}" in texts
        assert any(re.fullmatch(rf"{passage}.*{re.escape(_TEXT)}", text, re.DOTALL) for text in texts)

        served = chats(stub)[-1]

        async def is_booked() -> None:
            assert await booked(product, user) == {
                urlsplit(stub.url).hostname: (served.prompt_tokens, served.completion_tokens, False)
            }

        await eventually(is_booked)

        stub.reset()
        stub.control(behaviour.rule)
        row = row_of(provider, stub)
        async with provider_row(product, user, row, by_operator=behaviour.by_operator) as name:
            model = row["models"][0]["name"]
            assert "36 months" in await ask(user, f"{name}/{model}")
            header = "api-key" if row.get("auth") == "api-key" else "authorization"
            check_asked(stub, behaviour, model, row.get("api_key", "none"), header=header)
            of_row = chats(stub)[-1]
            book = name if behaviour.by_operator else f"own/{user.tenant_id}/{name}"

            async def of_row_is_booked() -> None:
                entry = (await booked(product, user))[book]
                assert entry == (of_row.prompt_tokens, of_row.completion_tokens, False)

            await eventually(of_row_is_booked)
