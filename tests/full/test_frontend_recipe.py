"""The front end in 40 lines, in a real Chromium, from an origin of its own."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from docuchat_testkit.chromium import Page, chromium_page
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule
from docuchat_testkit.vocabulary import repository_root

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

PAGE = repository_root() / "examples" / "frontend.html"
_ADDRESS = "http://localhost:8000/v1/public/chatbots/pub_…"
_ASK = """
async (question) => {
  const until = async (check) => {
    for (let tries = 0; tries < 1200; tries += 1) {
      const found = check();
      if (found) return found;
      await new Promise((go) => setTimeout(go, 25));
    }
    throw new Error(`in vain: ${check}`);
  };
  const field = document.querySelector('input');
  field.value = question;
  const asked = document.querySelectorAll('h2').length;
  document.querySelector('button').click();
  const answer = await until(() => document.querySelectorAll('main p')[asked]);
  const seen = [];
  await until(() => {
    if (answer.textContent && answer.textContent !== seen.at(-1)) seen.push(answer.textContent);
    return answer.nextElementSibling?.tagName === 'BLOCKQUOTE' || / not | pages /.test(answer.textContent);
  });
  return [seen, [...document.querySelectorAll('blockquote')].map((each) => each.textContent)];
}
"""


@contextmanager
def served(html: str) -> Iterator[str]:
    """The page at an origin of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium_page(tmp_path) as opened:
        yield opened


async def publish(user: User) -> dict[str, str]:
    """A chatbot that nobody may show yet."""
    text = "The warranty of the kettle lasts 36 months. Abroad the warranty of the kettle lasts 12 months."
    await user.ready(small_pdf((text,)))
    collections = [one["id"] for one in (await user.http.get("/v1/collections")).json()["items"]]
    made = await user.http.post("/v1/chatbots", json={"name": "Desk", "collections": collections, "publish": True})
    assert made.status_code == 201, made.text
    return dict(made.json())


def test_it_has_forty_lines_at_most() -> None:
    assert len(PAGE.read_text().splitlines()) <= 40


async def test_it_streams_an_answer_and_shows_where_it_stands(
    user: User, product: Product, stub_provider: StubProviderHandle, page: Page
) -> None:
    chatbot = await publish(user)
    address = f"{product.url}/v1/public/chatbots/{chatbot['publishable_id']}"
    html = PAGE.read_text()
    assert html.count(_ADDRESS) == 1
    stub_provider.control(Rule(endpoint="chat", rate=10))
    with served(html.replace(_ADDRESS, address)) as origin:
        await page.go(origin)
        seen, cited = await page.run(_ASK, "How long does the warranty of the kettle last?")
        assert cited == [] and "origins" in seen[-1], "a page that is not among the origins is told so"

        changed = await user.http.patch(f"/v1/chatbots/{chatbot['id']}", json={"origins": [origin]})
        assert changed.status_code == 200, changed.text
        await page.go(origin)
        seen, cited = await page.run(_ASK, "How long does the warranty of the kettle last?")
        assert len(seen) > 3, "the answer came all at once"
        assert "36 months" in seen[-1] and "[1]" in seen[-1]
        assert cited[0] == "[1] document, page 1: “The warranty of the kettle lasts 36 months.”"

        stub_provider.control(Rule(endpoint="chat", text="It lasts <b>12 months</b> abroad. [1]"))
        seen, cited = await page.run(_ASK, "And abroad, how long does the warranty of the kettle last?")
        assert "12 months" in seen[-1] and len(cited) > 1
        assert not await page.run("async () => Boolean(document.querySelector('main b'))"), "tags of a model are text"
