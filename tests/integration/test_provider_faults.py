"""A model provider that refuses, stalls, cuts and stammers: readable errors, and no token unbilled or billed twice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.pdf import pdf_of
from docuchat_testkit.product import Product, User, answer_text, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

_LEAFLET = small_pdf(("The warranty of the kettle lasts 36 months.",))


@dataclass(frozen=True)
class Fault:
    """What the provider does, and how the answer must end: `None` as any other, else an error of this code."""

    rule: Rule
    code: str | None
    partial: bool = False


def chat_rule(**fields: Any) -> Rule:
    return Rule(endpoint="chat", **fields)


FAULTS = {
    "busy for good": Fault(chat_rule(status=429, retry_after=30), "provider_rate_limited"),
    "busy once": Fault(chat_rule(status=429, retry_after=0.1, times=1), None),
    "broken for good": Fault(chat_rule(status=500), "provider_error"),
    "broken once": Fault(chat_rule(status=503, times=1), None),
    "refused": Fault(chat_rule(status=401), "provider_refused"),
    "hung up before an answer": Fault(chat_rule(drop=True), "provider_error"),
    "silent from the start": Fault(chat_rule(stall_after=0), "provider_timeout"),
    "silent in the midst": Fault(chat_rule(exact_tokens=40, stall_after=9), "provider_timeout", partial=True),
    "cut in the midst": Fault(chat_rule(exact_tokens=40, cut_after=13), "provider_interrupted", partial=True),
    "malformed": Fault(
        chat_rule(exact_tokens=40, malformed_after=7, stall_after=7), "provider_interrupted", partial=True
    ),
    "without a usage figure": Fault(chat_rule(exact_tokens=40, usage_frame=False), None),
}


async def assert_books_agree(product: Product, user: User, provider: StubProviderHandle) -> dict[str, int]:
    """The tenant's ledger is what the provider served, and nothing is held any more."""

    async def agree() -> dict[str, int]:
        booked, served = await product.booked(user.tenant_id), provider.counts()
        assert (booked["prompt_tokens"], booked["completion_tokens"], booked["embedding_tokens"]) == (
            served.prompt_tokens,
            served.completion_tokens,
            served.embedding_tokens,
        )
        assert (await user.usage())["quota"]["tokens"]["held"] == 0
        return booked

    return await eventually(agree)


@pytest.mark.parametrize("name", FAULTS)
async def test_a_fault_of_the_provider_is_told_and_billed_as_it_was(
    product: Product, user: User, stub_provider: StubProviderHandle, name: str
) -> None:
    fault = FAULTS[name]
    await user.ready(_LEAFLET)
    stub_provider.control(fault.rule)

    frames = await user.ask("How long does the warranty last?")

    last, text = frames[-1], answer_text(frames)
    if fault.code is None:
        assert last["type"] == "end", last
        assert text
        assert last["usage"]["estimated"] is (not fault.rule.usage_frame)
    else:
        assert (last["type"], last["code"]) == ("error", fault.code), last
        assert 10 < len(last["message"]) < 200
        assert last["message"][0].isupper()
        assert not any(word in last["message"] for word in ("Traceback", "Error(", "sk-", "http://", "Scripted"))
        assert bool(text) is fault.partial
    if fault.code == "provider_rate_limited":
        assert 0 < last["retry_after"] <= 30
    booked = await assert_books_agree(product, user, stub_provider)
    if fault.partial:
        assert booked["chats"] == 1
        # what came is kept, marked for what it is
        messages = (await user.http.get("/v1/messages", params={"chat_id": frames[0]["chat_id"]})).json()["items"]
        (answer,) = [message for message in messages if message["role"] == "assistant"]
        assert (answer["content"], answer["status"]) == (text, "interrupted")

    # and the next question is answered as if nothing had been
    stub_provider.control()
    assert (await user.ask("How long does the warranty last?"))[-1]["type"] == "end"


async def test_plain_http_tells_a_fault_as_a_problem(user: User, stub_provider: StubProviderHandle) -> None:
    await user.ready(_LEAFLET)
    expected = {429: (429, "provider_rate_limited"), 500: (503, "provider_error")}
    for status, (answered, code) in expected.items():
        stub_provider.control(chat_rule(status=status, retry_after=30))
        response = await user.http.post("/v1/chat", json={"message": "How long does the warranty last?"})
        assert (response.status_code, response.json()["code"]) == (answered, code), response.text
        assert response.headers["content-type"].startswith("application/problem+json")
        assert int(response.headers["retry-after"]) >= 1


async def test_embeddings_that_are_refused_for_a_while_only_delay_a_document(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(
        Rule(endpoint="embeddings", status=429, retry_after=0.2, times=2),
        Rule(endpoint="embeddings", status=500, times=1),
    )
    await user.ready(pdf_of("The bridge was built in 1932."))
    await assert_books_agree(product, user, stub_provider)


async def test_embeddings_that_are_refused_for_good_fail_the_document_until_it_is_retried(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    stub_provider.control(Rule(endpoint="embeddings", status=401))
    document = await user.settled((await user.upload(pdf_of("The bridge was opened in 1932.")))["id"])
    assert (document["status"], document["error"]["code"]) == ("failed", "provider_refused")
    assert "sk-" not in document["error"]["detail"]

    stub_provider.control()
    assert (await user.http.post(f"/v1/files/{document['id']}/retry")).status_code == 202
    again = await user.settled(document["id"])
    assert (again["status"], again["error"]) == ("ready", None)
    await assert_books_agree(product, user, stub_provider)
