"""A page of another origin follows all that happens to its user, over one EventSource that a ticket opens."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docuchat_testkit.chromium import chromium_page
from docuchat_testkit.product import Product, User, small_pdf

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_FOLLOW = """
async (server, token) => {
  const headers = { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' };
  const call = (path, body) => fetch(server + path, { method: 'POST', headers, body: JSON.stringify(body) });
  const kinds = ['hello', 'document', 'start', 'sources', 'delta', 'end'];
  const told = [];
  let last = '';
  const open = async (tries = 3) => {
    const { ticket } = await (await call('/v1/events/tickets')).json();
    const source = new EventSource(`${server}/v1/events?ticket=${ticket}&last_event_id=${last}`);
    for (const kind of kinds) {
      source.addEventListener(kind, (event) => {
        last = event.lastEventId;
        if (kind !== 'hello') told.push([kind, JSON.parse(event.data)]);
      });
    }
    const opened = await new Promise((go) => {
      source.addEventListener('hello', () => go(true));
      source.onerror = () => go(false);
    });
    source.onerror = null;
    if (opened) return source;
    source.close();  // a ticket is good once: a connection that was lost takes another
    if (tries === 0) throw new Error('no stream of events opens');
    return open(tries - 1);
  };
  const until = async (check) => {
    for (let tries = 0; tries < 600 && !check(); tries += 1) await new Promise((go) => setTimeout(go, 50));
  };
  let source = await open();
  await call('/v1/chat', { message: 'When does the contract end?', detach: true });
  await until(() => told.some(([kind]) => kind === 'sources'));
  source.close();
  const before = told.length;
  source = await open();
  await until(() => told.some(([kind]) => kind === 'end'));
  source.close();
  return [told.map(([kind]) => kind), told.filter(([kind]) => kind === 'delta').map(([, data]) => data.seq), before];
}
"""


async def test_a_page_follows_a_turn_and_goes_on_behind_what_it_read(
    product: Product, user: User, tmp_path: Path
) -> None:
    await user.ready(small_pdf(("The contract ends in May.",)))
    server = f"http://localhost:{urlsplit(product.url).port}"
    async with chromium_page(tmp_path) as page:
        await page.go(f"{server}/docs")
        kinds, numbers, before = await page.run(_FOLLOW, server, user.token)
    assert kinds[:2] == ["start", "sources"] and kinds[-1] == "end" and before >= 2
    assert kinds == [kind for place, kind in enumerate(kinds) if kind == "delta" or kind not in kinds[:place]]
    assert numbers == list(range(1, len(numbers) + 1))
