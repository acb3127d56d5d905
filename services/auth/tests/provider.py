"""An identity provider on this machine that says whatever a test wants."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey
from yarl import URL

from docuchat_auth.federated_logins.domain import challenge_of
from docuchat_common.clock import Clock

KEYS = [RSAKey.generate_key(2048, {"kid": name, "use": "sig"}) for name in ("first", "second")]
"""Made once: RSA keys take their time."""
CLIENT, CLIENT_SECRET = "docuchat", "a secret: with/odd+letters"

Change = Callable[[dict[str, Any]], None]


def public(*keys: RSAKey) -> dict[str, Any]:
    return {"keys": [key.as_dict(private=False) for key in keys]}


@dataclass
class SigningProvider:
    """Speaks the protocol as it should, but for what a test changes."""

    clock: Clock
    port: int = 0
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "ann-at-acme"})
    """Claims of who signs in."""
    key: RSAKey = field(default_factory=lambda: KEYS[0])
    header: dict[str, Any] = field(default_factory=lambda: {"alg": "RS256", "kid": "first"})
    twist: Change | None = None
    """Changes the claims of an ID token."""
    forge: Callable[[dict[str, Any]], str] | None = None
    """Makes the ID token in another way."""
    metadata: dict[str, Any] = field(default_factory=dict)
    """Of the discovery, instead of what it says."""
    jwks: dict[str, Any] = field(default_factory=lambda: public(KEYS[0]))
    user_info: dict[str, Any] = field(default_factory=dict)
    odd: dict[str, Callable[[], web.StreamResponse]] = field(default_factory=dict)
    """Answers by path, instead of its own."""
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    _codes: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}/acme"

    def authorize(self, url: str) -> dict[str, str]:
        """What a browser that is sent to `url` brings back, once its user has signed in there."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert url.startswith(f"{self.issuer}/authorize?"), url
        assert asked["response_type"] == "code" and asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return {"code": code, "state": asked["state"]}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix("/acme")
        self.asked.append(path)
        if path in self.odd:
            return self.odd[path]()
        match path:
            case "/.well-known/openid-configuration":
                return web.json_response(self._discovery() | self.metadata)
            case "/keys":
                return web.json_response(self.jwks)
            case "/token":
                return self._redeem(request, dict(await request.post()))  # type: ignore[arg-type] - texts only
            case "/me":
                assert request.headers["Authorization"] == "Bearer its-access-token"
                return web.json_response({"sub": self.person["sub"], **self.user_info})
        raise web.HTTPNotFound

    def _discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/me",
        }

    def _redeem(self, request: web.Request, form: dict[str, str]) -> web.Response:
        self.forms.append(form)
        shown = base64.b64decode(request.headers.get("Authorization", "Basic ").split()[1]).decode()
        client, _, secret = (unquote(part) for part in shown.partition(":"))
        asked = self._codes.pop(form["code"], None)
        if (
            asked is None
            or (client, secret) != (CLIENT, CLIENT_SECRET)
            or asked["redirect_uri"] != form["redirect_uri"]
            or asked["code_challenge"] != challenge_of(form["code_verifier"])
        ):
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response({"id_token": self.id_token(asked["nonce"]), "access_token": "its-access-token"})

    def id_token(self, nonce: str) -> str:
        moment = int(self.clock.now().timestamp())
        claims = {"iss": self.issuer, "aud": CLIENT, "nonce": nonce, "iat": moment, "exp": moment + 300, **self.person}
        if self.twist is not None:
            self.twist(claims)
        if self.forge is not None:
            return self.forge(claims)
        return jwt.encode(self.header, claims, self.key, algorithms=["RS256"])


def by_hand(header: dict[str, Any], claims: dict[str, Any], secret: bytes | None = None) -> str:
    """What no library makes: a token without a signature, or with a secret that is none."""
    parts = [json.dumps(part).encode() for part in (header, claims)]
    text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)
    signature = b"" if secret is None else hmac.digest(secret, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def endless() -> web.StreamResponse:
    """A body of a gigabyte."""

    class Endless(web.StreamResponse):
        async def prepare(self, request: web.BaseRequest) -> Any:
            writer = await super().prepare(request)
            try:
                for _ in range(1024):
                    await self.write(b" " * 2**20)
            except (ConnectionError, asyncio.CancelledError):
                pass
            return writer

    return Endless()


def redirect(url: str) -> Callable[[], web.StreamResponse]:
    return lambda: web.Response(status=302, headers={"Location": url})


@asynccontextmanager
async def serving_provider(clock: Clock) -> AsyncIterator[SigningProvider]:
    """A provider on a free port."""
    provider = SigningProvider(clock)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    provider.port = runner.addresses[0][1]
    try:
        yield provider
    finally:
        await runner.cleanup()


def query_of(url: str) -> dict[str, str]:
    return dict(URL(url).query)
