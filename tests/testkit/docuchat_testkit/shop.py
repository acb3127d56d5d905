"""A site with pages that show a chatbot by its widget, and what a test says to a browser that is there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from docuchat_testkit.chromium import Page
from docuchat_testkit.product import User

TOOLS: Final = """
const until = async (check) => {
  for (let tries = 0; tries < 900; tries += 1) {
    const found = check();
    if (found) return found;
    await new Promise((go) => setTimeout(go, 50));
  }
  throw new Error(`in vain: ${check}`);
};
const root = () => document.querySelector('docuchat-widget')?.shadowRoot;
const one = (selector) => root()?.querySelector(selector);
const all = (selector) => [...(root()?.querySelectorAll(selector) ?? [])];
const there = () => until(() => one('.launcher') && !one('.launcher').hidden);
const words = () => all('.words').at(-1)?.innerText ?? '';
const over = () => until(() => !one('.log[aria-busy=true]') && all('.answer').at(-1)?.querySelector('.acts, .trouble'));
"""
WATCH: Final = """
window.seen = [];
window.told = [];
addEventListener('securitypolicyviolation', (event) => window.seen.push(event.effectiveDirective));
const warn = console.warn;
console.warn = (...said) => { window.told.push(said.join(' ')); warn(...said); };
"""


def script(body: str, *parameters: str) -> str:
    return f"async ({', '.join(parameters)}) => {{{TOOLS}{body}}}"


@dataclass
class Shop:
    """A site with pages that show a chatbot; `localhost` is one of the chatbot's origins, `127.0.0.1` is none."""

    port: int
    tag: str = ""
    script_origin: str = ""
    reports: list[str] = field(default_factory=list)
    pages: dict[str, str] = field(default_factory=dict)
    """Further pages by their paths, as a test writes them."""

    def url(self, path: str = "/", host: str = "localhost") -> str:
        return f"http://{host}:{self.port}{path}"

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    def page(self, query: str) -> str:
        """A page with the tag, with what the query says as attributes of it."""
        given = dict(parse_qsl(query, keep_blank_values=True))
        copies = int(given.pop("copies", "1"))
        attributes = "".join(f' data-{name}="{escape(value)}"' for name, value in given.items() if name != "lang")
        tag = self.tag.replace("></script>", f"{attributes}></script>") * copies
        return (
            f'<!doctype html><html lang="{given.get("lang", "en")}"><head><meta charset="utf-8"><title>A shop</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"</head><body><main><h1>Kettles</h1><p>Made of steel.</p></main>{tag}</body></html>"
        )

    @property
    def policy(self) -> str:
        own = self.script_origin
        return (
            f"default-src 'none'; script-src {own}; connect-src {own}; require-trusted-types-for 'script'; "
            "trusted-types 'none'; report-uri /reports"
        )


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, shop: Shop, *arguments: Any) -> None:
        self.shop = shop
        super().__init__(*arguments)

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        body = (self.shop.pages.get(parts.path) or self.shop.page(parts.query)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        if parts.path == "/strict":
            self.send_header("Content-Security-Policy", self.shop.policy)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.shop.reports.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served_shop() -> Iterator[Shop]:
    """The site, at an origin of its own."""
    made = Shop(0)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, made)) as server:
        made.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@dataclass(frozen=True)
class Bot:
    """A published chatbot, and how to change it."""

    owner: User
    id: str
    publishable_id: str

    async def change(self, **fields: Any) -> None:
        changed = await self.owner.http.patch(f"/v1/chatbots/{self.id}", json=fields)
        assert changed.status_code == 200, changed.text
        published = await self.owner.http.post(f"/v1/chatbots/{self.id}/publish")
        assert published.status_code == 201 or published.json()["code"] == "nothing_to_publish", published.text


async def publish_bot(owner: User, shop: Shop, **fields: Any) -> Bot:
    """A published chatbot that answers from the owner's documents, and its tag on the shop's pages."""
    collections = (await owner.http.get("/v1/collections")).json()["items"]
    body = {
        "name": "Help desk",
        "greeting": "What would you like to know?",
        "origins": [shop.origin],
        "collections": [one["id"] for one in collections],
        "demo_messages": 0,
        "publish": True,
    }
    made = await owner.http.post("/v1/chatbots", json=body | fields)
    assert made.status_code == 201, made.text
    snippet = await owner.http.get(f"/v1/chatbots/{made.json()['id']}/snippet", headers={"Accept": "text/html"})
    assert snippet.status_code == 200, snippet.text
    shop.tag = snippet.text.strip()
    assert 'integrity="sha384-' in shop.tag and "crossorigin" in shop.tag
    source = shop.tag.split('src="')[1].split('"')[0]
    shop.script_origin = source[: source.index("/widget")]
    return Bot(owner, made.json()["id"], made.json()["publishable_id"])


async def faults(page: Page, axe: str) -> Any:
    """What axe finds wrong."""
    await page.send("Runtime.evaluate", expression=axe)
    judge = "async () => (await axe.run()).violations.map((it) => [it.id, it.nodes.map((node) => node.html)])"
    return await page.run(judge)
