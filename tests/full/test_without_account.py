"""Every kind of client talks to the product as a newcomer has it: `make run`, embedded models, no account anywhere."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from openai import AsyncOpenAI

from docuchat_testkit.chromium import chromium_page
from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

HERE: Final = Path(__file__).parent
_PATIENCE: Final = 180
_TEXTS: Final = ("The warranty of the kettle lasts 36 months.", "The deposit for the bottle is 25 cents.")
_QUESTION: Final = "How long does the warranty of the kettle last?"
_NEXT: Final = "And how much is the deposit for the bottle?"
_WIDGET: Final = """async (...questions) => {
  const until = async (check) => {
    for (let tries = 0; tries < 600; tries += 1) {
      const found = check();
      if (found) return found;
      await new Promise((go) => setTimeout(go, 50));
    }
    throw new Error(`in vain: ${check}`);
  };
  await until(() => window.DocuChat?.ask);
  const root = () => document.querySelector('docuchat-widget').shadowRoot;
  const answers = [];
  for (const question of questions) {
    const answered = new Promise((go) => DocuChat.on('answer', go));
    DocuChat.ask(question);
    const { text } = await answered;
    const shown = await until(() => {
      const blocks = [...root().querySelectorAll('.answer')];
      return blocks.length === answers.length + 1 && blocks.at(-1).querySelector('.source') && blocks.at(-1);
    });
    const citations = [...shown.querySelectorAll('.source')].map((source) => {
      source.querySelector('button').click();
      const page = Number(/page (\\d+)/i.exec(source.querySelector('button').innerText)?.[1]);
      return { page, quote: source.querySelector('blockquote').innerText };
    });
    answers.push({ text, citations });
  }
  return answers;
}"""


@dataclass(frozen=True)
class Desk:
    """What a client is told: where the product is, a key, a chatbot, and where Node and its packages are."""

    product: Product
    user: User
    key: str
    chatbot: dict[str, Any]
    packages: Path
    with_node: dict[str, str]
    folder: Path

    async def printed(self, *command: str, cwd: Path | None = None, **variables: str) -> Any:
        """The JSON that a program prints."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=cwd or self.folder,
            env=self.with_node | variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, error = await asyncio.wait_for(process.communicate(), _PATIENCE)
        assert process.returncode == 0, error.decode()[-3000:]
        return json.loads(out)


Answers = list[dict[str, Any]]


async def by_openai_in_python(desk: Desk) -> Answers:
    async with AsyncOpenAI(base_url=f"{desk.product.url}/v1", api_key=desk.key, max_retries=0) as client:
        model = (await client.models.list()).data[0].id
        messages: list[Any] = []
        answers: Answers = []
        for question in (_QUESTION, _NEXT):
            messages.append({"role": "user", "content": question})
            told: Any = await client.chat.completions.create(model=model, messages=messages)
            text = told.choices[0].message.content
            messages.append({"role": "assistant", "content": text})
            answers.append({"text": text, "citations": told.docuchat["citations"]})
        first = await client.responses.create(model=model, input=_QUESTION)
        second = await client.responses.create(model=model, input=_NEXT, previous_response_id=first.id)
        for response in (first.to_dict(), second.to_dict()):
            said: Any = response
            part = said["output"][0]["content"][0]
            chat = said["docuchat"]["chat_id"]
            answers.append({"text": part["text"], "citations": part["annotations"], "chat": chat})
    return answers


async def by_openai_in_node(desk: Desk) -> Answers:
    model = f"chatbot/{desk.chatbot['id']}"
    arguments = (f"{desk.product.url}/v1", desk.key, model, _QUESTION, _NEXT)
    told: Answers = await desk.printed("node", "conversation.mjs", *arguments, cwd=desk.packages / "openai_clients")
    return told


async def by_mcp_in_python(desk: Desk) -> Answers:
    headers = {"Authorization": f"Bearer {desk.key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{desk.product.url}/mcp", http_client=http)) as client,
    ):
        first = (await client.call_tool("ask", {"question": _QUESTION})).structured_content
        assert first is not None
        arguments = {"question": _NEXT, "session_id": first["session_id"]}
        second = (await client.call_tool("ask", arguments)).structured_content
        assert second is not None
    return [
        {"text": told["answer"], "citations": told["citations"], "chat": told["chat_id"]} for told in (first, second)
    ]


def by_mcp_in_typescript(sdk: str) -> Callable[[Desk], Awaitable[Answers]]:
    async def talk(desk: Desk) -> Answers:
        arguments = (sdk, f"{desk.product.url}/mcp", desk.key, _QUESTION, _NEXT)
        told: Answers = await desk.printed("node", "conversation.mjs", *arguments, cwd=desk.packages / "mcp_client")
        return told

    return talk


async def by_curl(desk: Desk) -> Answers:
    messages: list[dict[str, str]] = []
    answers: Answers = []
    for question in (_QUESTION, _NEXT):
        messages.append({"role": "user", "content": question})
        body = json.dumps({"model": f"chatbot/{desk.chatbot['id']}", "messages": messages})
        headers = ("-H", f"Authorization: Bearer {desk.key}", "-H", "Content-Type: application/json")
        url = f"{desk.product.url}/v1/chat/completions"
        told = await desk.printed("curl", "--silent", "--show-error", "--fail-with-body", *headers, "-d", body, url)
        text = told["choices"][0]["message"]["content"]
        messages.append({"role": "assistant", "content": text})
        answers.append({"text": text, "citations": told["docuchat"]["citations"]})
    return answers


async def by_command_line(desk: Desk) -> Answers:
    docuchat = str(Path(sys.executable).with_name("docuchat"))
    variables = {
        "DOCUCHAT_SERVER": desk.product.url,
        "DOCUCHAT_API_KEY": desk.key,
        "DOCUCHAT_CONFIG_DIR": str(desk.folder),
    }
    first = await desk.printed(docuchat, "ask", "--json", _QUESTION, **variables)
    second = await desk.printed(docuchat, "ask", "--json", "--chat", first["chat_id"], _NEXT, **variables)
    return [
        {"text": told["message"]["content"], "citations": told["message"]["citations"], "chat": told["chat_id"]}
        for told in (first, second)
    ]


async def by_widget(desk: Desk) -> Answers:
    async with chromium_page(desk.folder) as page:
        server = f"http://localhost:{urlsplit(desk.product.url).port}"
        await page.go(f"{server}/widget/demo?chatbot={desk.chatbot['publishable_id']}")
        told: Answers = await page.run(_WIDGET, _QUESTION, _NEXT)
    return told


CLIENTS: Final[dict[str, Callable[[Desk], Awaitable[Answers]]]] = {
    "openai-python": by_openai_in_python,
    "openai-node": by_openai_in_node,
    "mcp-python": by_mcp_in_python,
    "mcp-typescript-v1": by_mcp_in_typescript("v1"),
    "mcp-typescript-v2": by_mcp_in_typescript("v2"),
    "curl": by_curl,
    "command-line": by_command_line,
    "widget": by_widget,
}


@pytest.fixture(scope="module")
def packages(with_node: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Node clients, each with what it needs."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("openai_clients", "mcp_client"):
        shutil.copytree(HERE / name, folder / name, ignore=shutil.ignore_patterns("node_modules"))
        install = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(install, cwd=folder / name, env=with_node, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("client", CLIENTS)
async def test_a_conversation_with_citations_needs_no_account(
    embedded_product: Product, packages: Path, with_node: dict[str, str], tmp_path: Path, client: str
) -> None:
    tenant_id = await embedded_product.new_tenant()
    async with embedded_product.user(tenant_id) as user:
        shelf = (await user.http.post("/v1/collections", json={"name": "Kettles"})).json()["id"]
        for text in _TEXTS:
            await user.ready(small_pdf((text,)), collection_id=shelf)
        server = f"http://localhost:{urlsplit(embedded_product.url).port}"
        body = {"name": "Desk", "origins": [server], "collections": [shelf], "demo_messages": 0, "publish": True}
        chatbot = await user.http.post("/v1/chatbots", json=body)
        assert chatbot.status_code == 201, chatbot.text
        key = await user.http.post(
            "/v1/api-keys", json={"name": "program", "scopes": ["chats.use", "mcp.use", "documents.read"]}
        )
        assert key.status_code == 201, key.text
        desk = Desk(embedded_product, user, key.json()["secret"], chatbot.json(), packages, with_node, tmp_path)
        answers = await CLIENTS[client](desk)

        for answer, text in zip(answers, _TEXTS * 2, strict=False):
            cited = {" ".join(citation["quote"].split()): citation["page"] for citation in answer["citations"]}
            assert cited[text] == 1 and text in " ".join(answer["text"].split()), answer
        assert len({answer["chat"] for answer in answers if "chat" in answer}) <= 1

        async def one_entry_for_each_call() -> None:
            assert (await embedded_product.booked(tenant_id))["chats"] == len(answers)

        await eventually(one_entry_for_each_call)
