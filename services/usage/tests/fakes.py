"""Auth, as usage asks it: its keys, and who belongs to a tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from aiohttp import test_utils, web

from docuchat_testkit.identity import TokenMint


@dataclass
class FakeAuth:
    """A small real HTTP server; it knows the users of tenant 1, and no other tenant."""

    mint: TokenMint
    url: str = ""
    users: list[UUID] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    async def keys(self, _: web.Request) -> web.Response:
        return web.json_response(self.mint.jwks())

    async def list_users(self, request: web.Request) -> web.Response:
        self.tokens.append(request.headers["Authorization"])
        if request.match_info["tenant"] != "1":
            return web.json_response({"code": "tenant_not_found", "detail": "There is no such tenant."}, status=404)
        found = [{"id": str(one)} for one in self.users if str(one) == request.query["user_id"]]
        return web.json_response({"items": found})

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """The address that it answers at."""
        app = web.Application()
        app.router.add_get("/.well-known/jwks.json", self.keys)
        app.router.add_get("/v1/operator/tenants/{tenant}/users", self.list_users)
        async with test_utils.TestServer(app) as server:
            yield str(server.make_url("/"))
