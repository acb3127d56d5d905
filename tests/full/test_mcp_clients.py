"""The official TypeScript clients of both eras of the protocol at the running product, and what nobody should send."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

HERE = Path(__file__).parent / "mcp_client"
_PATIENCE = 120
VERSIONS = {"v1": "2025-11-25", "v2": "2026-07-28"}
ACCEPT = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def packages(with_node: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients."""
    folder = tmp_path_factory.mktemp("mcp_client")
    for file in HERE.iterdir():
        shutil.copy(file, folder)
    install = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, env=with_node, check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("sdk", VERSIONS)
async def test_the_typescript_clients_hold_a_conversation(
    product: Product,
    user: User,
    stub_provider: StubProviderHandle,
    packages: Path,
    with_node: dict[str, str],
    sdk: str,
) -> None:
    document = await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
    made = await user.http.post("/v1/api-keys", json={"name": "editor", "scopes": ["chats.use", "documents.read"]})
    stub_provider.control(Rule(endpoint="chat", contains="Take your time", exact_tokens=600, rate=20))
    command = ["node", "talk.mjs", sdk, f"{product.url}/mcp", made.json()["secret"]]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=packages,
        env=with_node,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**20,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    line = await asyncio.wait_for(process.stdout.readline(), _PATIENCE)
    assert line, (await process.stderr.read()).decode()
    told = json.loads(line)

    def outcomes() -> list[str]:
        return [call.outcome for call in stub_provider.calls() if call.endpoint == "chat"]

    await eventually(lambda: outcomes() == ["stop", "stop", "cancelled"])
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), _PATIENCE) == 0, (await process.stderr.read()).decode()

    assert told["versions"] == [VERSIONS[sdk]]
    assert told["tools"] == ["search", "ask", "list_documents", "get_passage"]
    assert told["found"]["passages"][0]["document_id"] == document["id"]
    assert "36 months" in told["answer"]["answer"]
    assert told["answer"]["citations"][0]["page"] == 1 and told["answer"]["citations"][0]["quote"]
    assert told["again"]["chat_id"] == told["answer"]["chat_id"]
    assert told["passage"]["text"] == told["found"]["passages"][0]["text"]
    assert [item["id"] for item in told["listed"]["documents"]] == [document["id"]]
    assert told["refused"]["isError"] and told["refused"]["_meta"]["docuchat/error"]["code"] == "invalid_input"
    assert told["progress"] == sorted(told["progress"]) and told["progress"]
    assert told["cancelled"] is not None

    async def books_agree() -> None:
        served, booked = stub_provider.counts(), await product.booked(user.tenant_id)
        assert booked["chats"] == 3
        assert booked["prompt_tokens"] == served.prompt_tokens
        assert (await user.usage())["quota"]["tokens"]["held"] == 0

    await eventually(books_agree, 45)


ABSURD: tuple[bytes, ...] = (
    b"",
    b"null",
    b"[]",
    b"1e400",
    b'"\xed\xa0\x80"',
    b"{" * 5000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":' + b'{"a":' * 900 + b"1" + b"}" * 901,
    json.dumps([{"jsonrpc": "2.0", "id": n, "method": "tools/list"} for n in range(100)]).encode(),
    b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":{"a":1},"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":7}',
    b'{"jsonrpc":"2.0","id":1,"method":"no/such"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":[]}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":"x"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":{"question":"\\u0000"}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":"x\\u0000"}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"ask","arguments":{"question":"","session_id":{}}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_documents","arguments":{"cursor":"W10"}}}',
    b'{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}',
    b'{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{}}',
    b'{"jsonrpc":"2.0","id":1,"result":{}}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled"}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{"a":[1]}}}',
)


@pytest.mark.parametrize("version", ["2025-11-25", "2026-07-28", "1999-01-01", "x y"])
async def test_absurd_messages_are_answered_soon_and_break_nothing(product: Product, user: User, version: str) -> None:
    headers = ACCEPT | user.headers | {"MCP-Protocol-Version": version, "Mcp-Session-Id": "0" * 5000}
    async with product.client() as http:
        for body in ABSURD:
            answer = await http.post("/mcp", content=body, headers=headers, timeout=10)
            assert answer.status_code in {200, 202, 400, 404, 406, 413, 422}, (body[:100], answer.text)
            assert "Traceback" not in answer.text and "docuchat_" not in answer.text, answer.text
        large = await http.post("/mcp", content=b"x" * 2**20, headers=headers)
        assert large.status_code == 413
        for method in ("GET", "DELETE", "PUT"):
            assert (await http.request(method, "/mcp", headers=headers)).status_code == 405
        good = await http.post(
            "/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, headers=ACCEPT | user.headers
        )
        assert good.status_code == 200 and "search" in good.text


async def test_a_thousand_clients_leave_nothing_behind(product: Product, user: User) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "crowd", "version": "1"},
        },
    }
    names: set[str] = set()
    async with product.client(headers=ACCEPT | user.headers) as http:
        room = asyncio.Semaphore(20)

        async def come() -> None:
            async with room:
                answer = await http.post("/mcp", json=hello)
                assert answer.status_code == 200, answer.text
                names.add(answer.headers["Mcp-Session-Id"])

        await asyncio.gather(*(come() for _ in range(1000)))
    assert len(names) == 1000
    await product.healthy()
