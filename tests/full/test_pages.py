"""Pages of the gateway in a real browser: *Authorize* in Swagger, an invitation, a new password."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from docuchat_testkit.chromium import Page, chromium_page
from docuchat_testkit.eventually import eventually
from docuchat_testkit.product import Product, User

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

PASSWORD = "seven purple harbours"
_TOKEN = re.compile(r"auth\.invitation_issued token=(\S+)")
_TOOLS = """
const until = async (check) => {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = check();
    if (found) return found;
    await new Promise((go) => setTimeout(go, 50));
  }
  throw new Error(`in vain: ${check}`);
};
const one = (selector, within = document) => within.querySelector(selector);
const fill = (selector, value) => {
  const field = one(selector);
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, value);
  field.dispatchEvent(new Event('input', { bubbles: true }));
};
const told = () => until(() => one('#outcome').textContent || one('#problem').textContent);
"""
_AUTHORIZE = """
  (await until(() => one('.scheme-container .authorize'))).click();
  await until(() => one('#oauth_username'));
  fill('#oauth_username', name);
  fill('#oauth_password', password);
  const box = one('#oauth_username').closest('.auth-container');
  one('button.authorize', box).click();
  await until(() => [...box.querySelectorAll('button')].some((it) => it.textContent === 'Logout'));
  one('.auth-btn-wrapper .btn-done', box)?.click() ?? one('.close-modal').click();
  const path = '.opblock-get .opblock-summary-path[data-path="/v1/users/me"]';
  const block = await until(() => one(path)?.closest('.opblock'));
  one('.opblock-summary-control', block).click();
  (await until(() => one('.try-out__btn', block))).click();
  (await until(() => one('.execute', block))).click();
  const row = await until(() => one('.live-responses-table .response-col_status', block)?.closest('tr'));
  return row.closest('table').innerText;
"""
_ACCEPT = """
  fill('#name', 'Ben');
  fill('#password', password);
  one('#accept button').click();
  return [await told(), document.documentElement.dir, location.href];
"""
_IN_THE_OTHER_LANGUAGE = """
  const before = one('#problem').textContent;
  one('#language').click();
  return [one('#problem').textContent !== before, one('#token-field').hidden];
"""
_ASK = "fill('#email', email); one('#ask button').click(); return told();"
_RESET = """
  fill('#code', code);
  fill('#password', password);
  one('#reset button').click();
  await until(() => !one('#outcome').textContent.includes('mailed') || one('#problem').textContent);
  return told();
"""


def script(body: str, *parameters: str) -> str:
    return f"async ({', '.join(parameters)}) => {{{_TOOLS}{body}}}"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with chromium_page(tmp_path) as opened:
        yield opened


@pytest.fixture(scope="module")
def axe(with_node: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The source of axe-core, which judges whether people who cannot see or point get on."""
    folder = tmp_path_factory.mktemp("axe")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(Path(__file__).parent / "browser" / name, folder)
    install = ["npm", "ci", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    subprocess.run(install, cwd=folder, env=with_node, check=True, capture_output=True)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def address(product: Product, path: str) -> str:
    return f"http://localhost:{urlsplit(product.url).port}{path}"


async def faults(page: Page, axe: str) -> Any:
    """What axe finds wrong."""
    await page.send("Runtime.evaluate", expression=axe)
    judge = "async () => (await axe.run()).violations.map((it) => [it.id, it.nodes.map((node) => node.html)])"
    return await page.run(judge)


async def signed_in(product: Product, email: str) -> int:
    async with product.client() as http:
        return (await http.post("/v1/auth/login", json={"email": email, "password": PASSWORD})).status_code


async def test_authorize_in_swagger_signs_in_with_name_and_password(product: Product, page: Page) -> None:
    tenant_id = await product.new_tenant()
    body = {"username": f"ann-{tenant_id}", "password": PASSWORD}
    async with product.client(headers={"X-Tenant-ID": str(tenant_id)}) as http:
        made = await http.post("/v1/auth/register", json=body)
        assert made.status_code == 201, made.text
    await page.go(address(product, "/docs"))
    shown = await page.run(script(_AUTHORIZE, "name", "password"), body["username"], PASSWORD)
    assert "200" in shown and made.json()["user"]["id"] in shown, shown


@pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("fa", "rtl")])
async def test_the_page_of_an_invitation_makes_a_user_and_keeps_nothing(
    product: Product, user: User, page: Page, axe: str, language: str, direction: str
) -> None:
    log = product.running.processes["auth"].log
    since, email = log.stat().st_size, f"ben-{language}-{user.tenant_id}@example.com"
    invited = await user.http.post("/v1/invitations", json={"email": email})
    assert invited.status_code == 201, invited.text
    token = await eventually(lambda: _TOKEN.findall(log.read_bytes()[since:].decode())[-1])
    await page.go(address(product, f"/invitation?lang={language}#token={token}"))
    assert await faults(page, axe) == []
    outcome, shown_direction, url = await page.run(script(_ACCEPT, "password"), PASSWORD)
    assert email in outcome and shown_direction == direction
    assert await page.run("async () => document.querySelector('#lead').hidden")
    assert token not in url
    assert await signed_in(product, email) == 200
    async with product.database() as connection:
        live = "SELECT count(*) FROM auth.refresh_tokens t JOIN auth.users u ON u.id = t.user_id WHERE u.email = $1"
        assert await connection.fetchval(f"{live} AND t.revoked_at IS NULL", email) == 1  # of the sign-in above
    await page.go(address(product, f"/invitation?lang={language}&again#token={token}"))
    outcome, _, _ = await page.run(script(_ACCEPT, "password"), PASSWORD)
    assert email not in outcome and outcome
    # why is said in the language that is chosen; a code that was cut can be mended
    assert await page.run(script(_IN_THE_OTHER_LANGUAGE)) == [True, False]


async def test_the_page_of_a_new_password_sets_it_with_a_mailed_code(
    product: Product, user: User, page: Page, axe: str
) -> None:
    await page.go(address(product, "/reset-password?lang=en"))
    assert await faults(page, axe) == []
    since = product.running.processes["auth"].log.stat().st_size
    assert "mailed" in await page.run(script(_ASK, "email"), user.email)
    assert await faults(page, axe) == []
    code = await asyncio.to_thread(product.running.sign_in_code, since)
    wrong = f"{(int(code) + 1) % 1_000_000:06d}"
    assert "new one" in await page.run(script(_RESET, "code", "password"), wrong, PASSWORD)
    assert "is set" in await page.run(script(_RESET, "code", "password"), code, PASSWORD)
    assert await signed_in(product, user.email) == 200


async def test_the_pages_may_load_and_call_nothing_but_their_own(product: Product, page: Page) -> None:
    foreign = json.dumps("https://example.com/")
    await page.go(address(product, "/invitation"))
    blocked = await page.run(
        f"""async () => {{
          const blocked = [];
          document.addEventListener('securitypolicyviolation', (it) => blocked.push(it.effectiveDirective));
          await fetch({foreign}).catch(() => null);
          const script = document.createElement('script');
          script.textContent = 'window.ran = true';
          document.head.append(script);
          document.body.setAttribute('onclick', 'window.ran = true');
          document.body.click();
          await new Promise((go) => setTimeout(go, 200));
          return [blocked.sort(), window.ran ?? false];
        }}"""
    )
    assert blocked == [["connect-src", "script-src-attr", "script-src-elem"], False]
