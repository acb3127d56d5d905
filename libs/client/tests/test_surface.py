"""The client is complete: a method for each operation of the gateway's OpenAPI document, and for all it can be told."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from docuchat_client import AsyncDocuChat
from docuchat_client.answers import AnswerStream
from docuchat_client.operators import OperatorClient, OperatorKey

from .calls import BY_OPENAI, CALLS, OPERATING
from .conftest import Service
from .documented import Documented, openapi

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


@pytest.fixture
def documented(service: Service) -> Documented:
    return Documented.of(service)


def operations() -> dict[str, dict[str, Any]]:
    """The document's operations by their names, without the directory's."""
    found = (o for path, item in openapi()["paths"].items() for o in item.values() if not path.startswith("/scim/"))
    return {operation["operationId"]: operation for operation in found}


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

    client = AsyncDocuChat(service.url, access_token="text")
    async with client, client.openai() as compatible:
        for call in BY_OPENAI:
            await finished(call(compatible))

    all_of_them = set(operations())
    assert all_of_them - set(documented.said) == set(WITHOUT_A_METHOD)
