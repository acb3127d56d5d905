"""Passkeys in a real browser, on a page of the running product."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from docuchat_testkit.chromium import chromium_page
from docuchat_testkit.product import Product, User

pytestmark = [pytest.mark.full, pytest.mark.timeout(600)]

_ASK = """
const ask = async (method, path, token, body) => {
  const headers = {'Content-Type': 'application/json', ...(token ? {Authorization: `Bearer ${token}`} : {})};
  const answer = await fetch(path, {method, headers, body: body && JSON.stringify(body)});
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
};
"""
_REGISTER = (
    "async (token) => {"
    + _ASK
    + """
  const {publicKey} = await ask('POST', '/v1/users/me/passkeys/options', token);
  const made = await navigator.credentials.create(
    {publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey)});
  return ask('POST', '/v1/users/me/passkeys', token, {name: 'Laptop', credential: made.toJSON()});
}"""
)
_SIGN_IN = (
    "async () => {"
    + _ASK
    + """
  const {publicKey} = await ask('POST', '/v1/auth/passkeys/options');
  const found = await navigator.credentials.get(
    {publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey)});
  const credential = found.toJSON();
  const tokens = await ask('POST', '/v1/auth/passkeys', null, {credential});
  const again = await fetch('/v1/auth/passkeys', {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({credential})});
  return {me: await ask('GET', '/v1/users/me', tokens.access_token), again: again.status, tokens};
}"""
)
_REMOVE = (
    "async (token, id) => {" + _ASK + "return ask('DELETE', `/v1/users/me/passkeys/${id}`, token); }"
)  # fmt: skip


async def test_a_passkey_is_made_and_signs_in_in_a_browser(product: Product, user: User, tmp_path: Path) -> None:
    port = urlsplit(product.url).port
    async with chromium_page(tmp_path) as page:
        authenticator = await page.add_authenticator()
        await page.go(f"http://localhost:{port}/docs")
        made = await page.run(_REGISTER, user.token)
        assert made["name"] == "Laptop"
        held = await page.send("WebAuthn.getCredentials", authenticatorId=authenticator)
        (credential,) = held["credentials"]
        assert credential["rpId"] == "localhost" and credential["isResidentCredential"]

        signed_in = await page.run(_SIGN_IN)
        assert (signed_in["me"]["email"], signed_in["again"]) == (user.email, 401)
        await page.run(_REMOVE, signed_in["tokens"]["access_token"], made["id"])
        with pytest.raises(AssertionError, match="invalid_passkey"):
            await page.run(_SIGN_IN)


async def test_a_page_of_another_origin_gets_nothing_of_it(product: Product, user: User, tmp_path: Path) -> None:
    """The browser signs what it likes there; the origin that it writes down is none of ours."""
    elsewhere = urlsplit(product.running.processes["auth"].url).port
    async with chromium_page(tmp_path) as page:
        await page.add_authenticator()
        await page.go(f"http://localhost:{elsewhere}/.well-known/jwks.json")
        with pytest.raises(AssertionError, match="passkey_refused"):
            await page.run(_REGISTER, user.token)
