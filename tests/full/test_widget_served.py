"""The widget's script in a real browser: from the gateway's own pages, and from tags of older versions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docuchat_gateway.widget.domain import Build
from docuchat_testkit.chromium import Page, chromium_page
from docuchat_testkit.product import Product, User, small_pdf

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_TOOLS = """
const until = async (check) => {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = check();
    if (found) return found;
    await new Promise((go) => setTimeout(go, 50));
  }
  throw new Error(`in vain: ${check}`);
};
const root = () => document.querySelector('docuchat-widget')?.shadowRoot;
"""
_WATCH = "window.seen = []; addEventListener('securitypolicyviolation', (it) => seen.push(it.effectiveDirective));"
_ASK = """
  await until(() => window.DocuChat?.ask);
  const answered = new Promise((go) => DocuChat.on('answer', go));
  DocuChat.ask(question);
  return [(await answered).text, seen];
"""
_PAST = """
  await until(() => window.DocuChat?.open);
  DocuChat.open();
  await until(() => root()?.querySelector('.log')?.innerText.includes('36 months'));
  return seen;
"""
_LOAD = """
  const load = (url, integrity) => new Promise((go) => {
    const tag = Object.assign(document.createElement('script'), { src: url, integrity, crossOrigin: 'anonymous' });
    tag.onload = () => go(true);
    tag.onerror = () => go(false);
    document.head.append(tag);
  });
  return [await load(url, integrity), window.old ?? null, await load(url, other)];
"""


def script(body: str, *parameters: str) -> str:
    return f"async ({', '.join(parameters)}) => {{{_TOOLS}{body}}}"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium_page(tmp_path) as opened:
        await opened.send("Page.enable")
        await opened.send("Page.addScriptToEvaluateOnNewDocument", source=_WATCH)
        yield opened


async def test_a_page_of_the_gateways_own_shows_a_chatbot_and_what_was_said_after_a_reload(
    user: User, product: Product, page: Page
) -> None:
    server = f"http://localhost:{urlsplit(product.url).port}"
    await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
    collections = [one["id"] for one in (await user.http.get("/v1/collections")).json()["items"]]
    body = {"name": "Desk", "origins": [server], "collections": collections, "demo_messages": 0, "publish": True}
    made = await user.http.post("/v1/chatbots", json=body)
    assert made.status_code == 201, made.text
    snippet = (await user.http.get(f"/v1/chatbots/{made.json()['id']}/snippet")).json()
    assert snippet["script_url"].startswith(f"{server}/widget/")
    await page.go(f"{server}/widget/demo?chatbot={snippet['publishable_id']}")
    text, violations = await page.run(script(_ASK, "question"), "How long does the warranty of the kettle last?")
    assert "36 months" in text
    assert violations == []
    # what was said comes by GET, of which browsers do not say the origin here
    await page.go(f"{server}/widget/demo?chatbot={snippet['publishable_id']}")
    assert await page.run(script(_PAST)) == []


class _Shop(BaseHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>A shop</title>")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def shop() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Shop) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


async def test_a_browser_runs_an_older_version_with_its_hash_and_with_no_other(
    product: Product, page: Page, shop: str
) -> None:
    old = Build.of(b"/*! DocuChat widget 0.0.1 */\nwindow.old = 'ran';\n")
    store = Path(product.running.env_for("gateway")["BLOB_URL"].removeprefix("file://")) / "public" / "widget"
    await asyncio.to_thread((store / f"{old.name}.js").write_bytes, old.script)
    url = f"http://localhost:{urlsplit(product.url).port}/widget/{old.name}.js"
    await page.go(shop)
    other = Build.of(old.script + b"//").integrity
    assert await page.run(script(_LOAD, "url", "integrity", "other"), url, old.integrity, other) == [True, "ran", False]
