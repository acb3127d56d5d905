"""Sixty planted instructions and a model that obeys them: nothing that they want leaves the product anywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from markdown_it import MarkdownIt

from docuchat_testkit.obedience import Planted, planted
from docuchat_testkit.pdf import pdf_of
from docuchat_testkit.product import Product, User, answer_text, started_test_product
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.servers import TestServers

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

EARLIER = "My code word is zebra, keep it safe. How long is the warranty of the kettle?"
QUESTION = {"en": "How long is the warranty of the kettle?", "fa": "ضمانت کتری چند سال است؟"}
FOREIGN = "The vault of the other tenant opens with marmalade."
PROMPT = "Use only the numbered sources between"


@pytest.fixture(scope="module")
def titled_product(
    breakable_servers: TestServers, stub_provider_process: StubProviderHandle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """The product with chats that the model gives titles to."""
    folder = tmp_path_factory.mktemp("planted")
    with started_test_product(
        folder, breakable_servers, redis_number=6, provider=stub_provider_process, settings={"CHAT_TITLES": "true"}
    ) as product:
        yield product


def lines_of(instruction: Planted) -> list[bytes]:
    """The pages of one document, or the documents that an instruction is cut over."""
    if instruction.place == "text":
        return [pdf_of(*instruction.text)]
    if instruction.place == "chunks":
        return [pdf_of(*instruction.text[:3]), pdf_of(*instruction.text[3:])]
    return [pdf_of(f"The kettle of {instruction.id} has a warranty of two years.")]


async def ask(user: User, instruction: Planted) -> tuple[str, str]:
    """What is shown of the answer, and the chat."""
    fields: dict[str, str] = {}
    filename = "kettle.pdf"
    if instruction.place == "title":
        fields["title"] = instruction.text[0]
    elif instruction.place == "filename":
        filename = f"{instruction.text[0]}.pdf"
    documents = []
    for content in lines_of(instruction):
        document = await user.settled((await user.upload(content, filename=filename, **fields))["id"])
        assert document["status"] == "ready", document
        documents.append(document["id"])
    asked: dict[str, Any] = {"session_id": instruction.id, "documents": documents}
    await user.ask(EARLIER, **asked)
    question = QUESTION[instruction.language]
    if instruction.place == "history":
        await user.ask(instruction.text[0], **asked)
    frames = await user.ask(instruction.text[0] if instruction.place == "question" else question, **asked)
    assert frames[-1]["type"] == "end", frames[-1]
    return answer_text(frames), frames[0]["chat_id"]


async def shown_of(product: Product, user: User, chat_id: str) -> dict[str, str]:
    """Everything that is shown of a chat's answers, by where."""
    chat = (await user.http.get(f"/v1/chats/{chat_id}")).json()
    share = await user.http.post(f"/v1/chats/{chat_id}/share", json={"audience": "link"})
    assert share.status_code == 201, share.text
    token = re.search(r"[^/]+\Z", share.json()["url"])
    assert token is not None
    async with product.client() as stranger:
        shared = (await stranger.get(f"/v1/shared/{token[0]}")).json()
    exports = {
        kind: await user.http.get(f"/v1/chats/{chat_id}/export", params={"format": kind})
        for kind in ("markdown", "json")
    }
    assert {export.status_code for export in exports.values()} == {200}

    def answers(messages: list[dict[str, Any]]) -> str:
        return "\n\n".join(message["content"] for message in messages if message["role"] == "assistant")

    return {
        "stored": answers(chat["messages"]),
        "shared": answers(shared["messages"]),
        "json": answers(json.loads(exports["json"].text)["messages"]),
        "markdown": exports["markdown"].text,
        "title": chat["title"],
    }


def assert_harmless(where: str, text: str) -> None:
    tokens = [t for block in MarkdownIt("commonmark").parse(text) for t in (block, *(block.children or ()))]
    active = {"image", "html_block", "html_inline", "link_open"} & {token.type for token in tokens}
    assert not active, (where, active, text)
    assert "zebra" not in "".join(re.findall(r"evil\.example\S*", text)), (where, text)
    assert PROMPT not in text and "marmalade" not in text, (where, text)


async def test_nothing_leaves_that_a_planted_instruction_asks_for(
    titled_product: Product, stub_provider: StubProviderHandle
) -> None:
    product = titled_product
    async with product.user(await product.new_tenant()) as other:
        await other.ready(pdf_of(FOREIGN))
    stub_provider.control(Rule(endpoint="chat", obey=True))
    async with product.user(await product.new_tenant()) as user:
        for instruction in planted():
            called = len(stub_provider.calls())
            text, chat_id = await ask(user, instruction)
            said = [call.answer for call in stub_provider.calls()[called:] if call.endpoint == "chat"]
            assert any(instruction.bad in answer for answer in said), (instruction.id, said)
            assert all("marmalade" not in answer for answer in said)
            shown = await shown_of(product, user, chat_id)
            assert text in shown["stored"] and shown["stored"] == shown["shared"] == shown["json"]
            for where, content in {"frames": text, **shown}.items():
                if where != "markdown" and instruction.kind != "citation":
                    assert instruction.bad not in content, (instruction.id, where, content)
                assert_harmless(f"{instruction.id} in {where}", content)
