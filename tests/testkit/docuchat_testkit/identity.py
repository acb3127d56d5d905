"""Tokens for tests: a real signing key and a small JWKS server, so that services verify as they do in production."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from docuchat_common.contracts.api_keys import new_api_key
from docuchat_common.contracts.revisions import PATH as REVISIONS

INTERNAL_TOKEN = "internal-token-of-the-tests-and-of-nothing-else"
# known to every session, since sessions may share a server that is thrown away with its data
SERVICE_PASSWORD = "docuchat-tests-only"
ISSUER = AUDIENCE = "docuchat"
PAGE = "https://shop.example.com"
"""The origin of the pages of visitors."""
OF_CHATBOTS = "chatbots.ask chats.follow"
"""What a chatbot's key and a visitor may do."""


@dataclass(slots=True)
class TokenMint:
    """Signs access tokens like auth does, and any wrong one that a test of attacks needs."""

    jwks_url: str = ""
    kid: str = "test-key-1"
    private_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    revisions: list[dict[str, Any]] = field(default_factory=list)
    """What auth tells of tokens that it took back."""
    is_silent: bool = False
    """Whether it does not tell."""
    api_keys: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The API keys that are good, and what `token` is to be told for each."""
    exchanged: list[str] = field(default_factory=list)
    """The keys that auth was asked about."""
    users: set[str] = field(default_factory=set)
    """Where auth is asked for users of tenants (`path_of`) and knows them."""
    _published: dict[str, Ed25519PrivateKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._published[self.kid] = self.private_key

    @property
    def auth_url(self) -> str:
        """What a service takes as `AUTH_URL`."""
        return self.jwks_url.removesuffix("/.well-known/jwks.json")

    def token(
        self,
        *,
        tenant_id: int = 1,
        tenant_slug: str | None = None,
        user_id: uuid.UUID | str | None = None,
        role: str = "member",
        email: str | None = None,
        lifetime_seconds: float = 900,
        claims: Mapping[str, Any] | None = None,
        headers: Mapping[str, Any] | None = None,
        key: Any = None,
        algorithm: str = "EdDSA",
    ) -> str:
        """An access token; `claims` and `headers` override (None removes), `key` and `algorithm` sign differently."""
        now = int(time.time())
        user = str(user_id or uuid.uuid4())
        payload: dict[str, Any] = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "tenant": tenant_id,
            "tenant_slug": tenant_slug or f"tenant-{tenant_id}",
            "role": role,
            "email": email or f"{user[:8]}@example.com",
            "iat": now,
            "exp": now + int(lifetime_seconds),
            "jti": str(uuid.uuid4()),
            "typ": "access",
            **(claims or {}),
        }
        payload = {name: value for name, value in payload.items() if value is not None}
        signing_headers = {"kid": self.kid, **(headers or {})}
        return jwt.encode(payload, key or self.private_key, algorithm=algorithm, headers=signing_headers)

    def headers(self, **of_token: Any) -> dict[str, str]:
        """Request headers with a fresh token."""
        return {"Authorization": f"Bearer {self.token(**of_token)}"}

    def visitor_token(self, chatbot_id: uuid.UUID, origin: str = PAGE, **of_token: Any) -> str:
        """A token of a visitor of the chatbot's, on a page of `origin`."""
        claims = {"sub_type": "visitor", "chatbot": str(chatbot_id), "origin": origin, "scope": OF_CHATBOTS}
        return self.token(role="visitor", claims=claims | of_token.pop("claims", {}), **of_token)

    def visitor_headers(self, chatbot_id: uuid.UUID, origin: str = PAGE, **of_token: Any) -> dict[str, str]:
        """Request headers of a page of `origin` that shows the chatbot, with a fresh token."""
        token = self.visitor_token(chatbot_id, origin, **of_token)
        return {"Authorization": f"Bearer {token}", "Origin": origin}

    def chatbot_token(self, chatbot_id: uuid.UUID, **of_token: Any) -> str:
        """A token for a chatbot's key."""
        more = {"user_id": chatbot_id, "role": "chatbot", **of_token}
        return self.token(**more | {"claims": self._of_chatbot() | of_token.get("claims", {})})

    def make_chatbot_key(self, chatbot_id: uuid.UUID, **of_token: Any) -> str:
        """A chatbot's key as auth would make it."""
        more = {"user_id": chatbot_id, "role": "chatbot", **of_token}
        return self.make_key(OF_CHATBOTS, **more | {"claims": self._of_chatbot() | of_token.get("claims", {})})

    @staticmethod
    def _of_chatbot() -> dict[str, Any]:
        key, secret = str(uuid.uuid4()), str(uuid.uuid4())
        return {"sub_type": "chatbot", "key": key, "sid": secret, "scope": OF_CHATBOTS}

    def rotate(self, *, keep_old: bool = True) -> None:
        """Sign with a new key from now on; the old one stays published unless told otherwise."""
        if not keep_old:
            self._published.clear()
        self.kid, self.private_key = f"test-key-{uuid.uuid4().hex[:8]}", Ed25519PrivateKey.generate()
        self._published[self.kid] = self.private_key

    def take_back(self, kind: str, subject: object, *, tenant_id: int = 1, state: str = "ended", **more: Any) -> None:
        """Tell services that a user, session, key or tenant is not what tokens say."""
        told = {"tenant_id": tenant_id, "kind": kind, "subject": str(subject), "state": state, **more}
        self.revisions.append(told)

    def revisions_page(self, query: str) -> dict[str, Any]:
        """What was taken back since the answer whose place the query names."""
        place = int(dict(parse_qsl(query)).get("after", 0))
        return {"items": self.revisions[place:], "after": str(len(self.revisions))}

    def make_key(self, scope: str, **of_token: Any) -> str:
        """An API key as auth would make it."""
        key = new_api_key(uuid.uuid4())
        claims = {"sub_type": "key", "scope": scope, "sid": str(uuid.uuid4()), **of_token.pop("claims", {})}
        self.api_keys[key.text] = {"user_id": key.id, **of_token, "claims": claims}
        return key.text

    def exchange(self, body: bytes) -> tuple[int, dict[str, Any]]:
        """A token for a key, as auth answers."""
        key = json.loads(body)["key"]
        self.exchanged.append(key)
        if key not in self.api_keys:
            return 401, {"type": "about:blank", "title": "-", "status": 401, "detail": "-", "code": "invalid_api_key"}
        return 200, {"access_token": self.token(**self.api_keys[key]), "expires_in": 300}

    def jwks(self) -> dict[str, Any]:
        """The published key set."""
        keys = []
        for kid, private_key in self._published.items():
            raw = private_key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            x = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
            keys.append({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x})
        return {"keys": keys}


@contextmanager
def serving_token_mint() -> Iterator[TokenMint]:
    """A mint whose key set is served on a free port of the loopback address."""
    mint = TokenMint()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            answer: dict[str, Any] = {}
            status = 200
            if path == "/.well-known/jwks.json":
                answer = mint.jwks()
            elif path in mint.users:
                status = 204
            elif path != REVISIONS:
                status = 404
            elif mint.is_silent:
                status = 503
            else:
                answer = mint.revisions_page(query)
            self._send(status, answer)

        def do_POST(self) -> None:
            self._send(*mint.exchange(self.rfile.read(int(self.headers["content-length"]))))

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            body = b"" if status == 204 else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    mint.jwks_url = f"http://127.0.0.1:{server.server_port}/.well-known/jwks.json"
    try:
        yield mint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
