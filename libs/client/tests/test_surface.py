"""The client is complete: a method for each operation of the gateway's OpenAPI document, and for all it can be told."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from docuchat_client import AsyncDocuChat, BlockingOperatorClient, DocuChat
from docuchat_client.answers import AnswerStream
from docuchat_client.operators import OperatorClient, OperatorKey

from .calls import BY_OPENAI, CALLS, OPERATING
from .conftest import CHAT, Service
from .documented import Documented, openapi, resolved

WITHOUT_A_METHOD = {
    "home": "the page that a browser sees at /",
    "healthz": "for what watches the service: a status and nothing to type",
    "livez": "as above",
    "readyz": "as above",
    "getJwks": "for who verifies tokens, whose libraries fetch it themselves",
    "protectedResource": "read by MCP clients before they sign in",
    "protectedResourceOfMcp": "as above",
    "modelContextProtocol": "MCP's own clients speak it, docs/mcp.md",
    "beginProviderSignIn": "a browser is sent there",
    "endProviderSignIn": "a browser comes back there",
    "exchangeProviderCode": "for the page that the browser comes back to",
    "beginPasskeySignIn": "a passkey is in a browser or its device",
    "signInWithPasskey": "as above",
    "beginPasskey": "as above",
    "createPasskey": "as above",
    "createToken": "`login_with_password` as clients of OAuth 2 have it",
    "refreshTokens": "tokens are renewed without being asked for",
    "renameChat": "`rename_chat`, as a client of the first days calls it",
}  # fmt: skip
"""Operations that a Python program needs no method for, and why; those of SCIM are an identity provider's."""

NOT_SAID = {
    "cursor": "lists are followed to their end, as iterators",
    "encoding_format": "vectors are lists of numbers",
    "last_event_id": "`events(since=…)` says it in the header",
    "seconds": "a stream that ends is opened again",
    "ticket": "for a browser, whose EventSource sends no header",
    "user": "taken without effect, for OpenAI's clients",
    "username": "said in place of an address",
    "signup_open": "`signup` says more",
    "challenge": "said for an address that this client has asked about before",
    "device": "as above",
    "tenant": "`AsyncDocuChat(tenant=…)` says it in a header",
    "purpose": "`openai().files.create` says it, and reads the answer",
}
"""What operations can be told that is said in another way, or needs not be said; with the reason."""


@pytest.fixture
def documented(service: Service) -> Documented:
    return Documented.of(service)


def operations() -> dict[str, dict[str, Any]]:
    """The document's operations by their names, without the directory's."""
    found = (o for path, item in openapi()["paths"].items() for o in item.values() if not path.startswith("/scim/"))
    return {operation["operationId"]: operation for operation in found}


def told(name: str) -> set[str]:
    """What an operation can be told, in its address and its body."""
    operation = operations()[name]
    bodies = operation.get("requestBody", {}).get("content", {}).values()
    schemas = [resolved(one) for body in bodies for one in body["schema"].get("anyOf", [body["schema"]])]
    known = {member for schema in schemas for member in schema.get("properties", {})}
    return known | {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"}


async def finished(made: Any) -> None:
    """Wait for what a call answers, whatever it is."""
    if isinstance(made, AnswerStream):
        async with made as answer:
            assert "".join([word async for word in answer.text()]).startswith("Two years")
    elif inspect.isawaitable(made):
        await made
    else:
        assert await anext(aiter(made))
        if isinstance(made, AsyncIterator) and hasattr(made, "aclose"):
            await made.aclose()


async def test_every_operation_has_a_method(documented: Documented, service: Service, client: AsyncDocuChat) -> None:
    for call in CALLS:
        before = len(documented.asked)
        await finished(call(client))
        assert len(documented.asked) > before
    async with OperatorClient(OperatorKey(service.url, "key")) as operator:
        for operate in OPERATING:
            await finished(operate(operator))

    assert {name: left for name, said in documented.said.items() if (left := told(name) - said - NOT_SAID.keys())} == {}

    client = AsyncDocuChat(service.url, access_token="text")
    async with client, client.openai() as compatible:
        for call in BY_OPENAI:
            await finished(call(compatible))

    all_of_them = set(operations())
    assert all_of_them - set(documented.said) == set(WITHOUT_A_METHOD)


@pytest.mark.parametrize(
    ("asynchronous", "blocking"), [(AsyncDocuChat, DocuChat), (OperatorClient, BlockingOperatorClient)]
)
def test_the_synchronous_client_has_the_same_methods_with_the_same_parameters(
    asynchronous: type, blocking: type
) -> None:
    def methods(kind: type) -> dict[str, Any]:
        return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}

    theirs = methods(blocking)
    assert methods(asynchronous).keys() - {"aclose"} == theirs.keys() - {"close"}
    for name, method in methods(asynchronous).items():
        if callable(method) and name != "aclose":
            given = [(one.name, one.kind, one.default) for one in inspect.signature(method).parameters.values()]
            taken = [(one.name, one.kind, one.default) for one in inspect.signature(theirs[name]).parameters.values()]
            assert taken == given, name
            assert theirs[name].__doc__, name


def test_the_synchronous_client_is_what_is_written_from_the_asynchronous_one() -> None:
    script = Path(__file__).parents[1] / "scripts" / "write_blocking.py"
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


async def test_the_synchronous_client_does_what_the_asynchronous_one_does(
    documented: Documented, service: Service
) -> None:
    def use() -> None:
        with DocuChat(service.url, access_token="text") as client:
            client.tenant = "1"
            assert (client.base_url, client.tenant) == (service.url, "1")
            assert [one.name for one in client.model_providers()] == ["text"]
            assert client.embed("w", model="m").vectors
            with client.openai() as compatible:
                assert [one.id for one in compatible.models.list()] == ["text"]
        with BlockingOperatorClient(OperatorKey(service.url, "key")) as operator:
            assert [one.name for one in operator.model_providers()] == ["text"]
            assert operator.check_model_provider(CHAT).outcome == "ok"

    await asyncio.to_thread(use)
    assert all(headers.get("x-tenant-id") == "1" for headers in service.headers[:3])
