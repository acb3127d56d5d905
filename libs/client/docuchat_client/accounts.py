"""Signing in and out, registering, and the own password: what both a fresh and a signed-in client can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel

from docuchat_client.bodies import parsed
from docuchat_client.models import CodeSent, Registered, Tokens, User
from docuchat_client.transport import Transport

M = TypeVar("M", bound=BaseModel)


class Accounts:
    """The part of a client that is about who it works for."""

    _transport: Transport
    _challenges: dict[str, str | None]

    @property
    def base_url(self) -> str:
        """The service's address."""
        return self._transport.base_url

    async def request_code(self, email: str) -> CodeSent:
        """Have a sign-in code sent to the address."""
        kept = self._transport.store.load()
        body = {"email": email}
        if kept is not None and kept.challenge is not None and (kept.email, kept.server) == (email, self.base_url):
            body["challenge"] = kept.challenge
        sent = await self._get(CodeSent, "POST", "/v1/auth/request-code", json=body, signed=False)
        self._challenges[email] = sent.challenge
        return sent

    async def verify_code(self, email: str, code: str, *, challenge: str | None = None) -> Tokens:
        """Sign in with the code; the tokens are kept and used from now on.

        `challenge` came with the answer to `request_code`; that of this client's own request is known.
        """
        challenge = challenge or self._challenges.get(email)
        body = {"email": email, "code": code.strip()}
        if challenge is not None:
            body["challenge"] = challenge
        tokens = await self._get(Tokens, "POST", "/v1/auth/verify-code", json=body, signed=False)
        self._transport.sign_in(email, tokens.access_token, tokens.refresh_token, challenge)
        return tokens

    async def login(self, email: str, ask_code: Callable[[CodeSent], Awaitable[str] | str]) -> Tokens:
        """Request a code, have it asked for, and sign in."""
        answer = ask_code(await self.request_code(email))
        return await self.verify_code(email, answer if isinstance(answer, str) else await answer)

    async def login_with_password(self, who: str, password: str, *, otp: str | None = None) -> Tokens:
        """Sign in with an address or a user name; the tokens are kept and used from now on.

        The device that the service names is kept and shown the next time.
        """
        kept = self._transport.store.load()
        body: dict[str, Any] = {"email" if "@" in who else "username": who, "password": password}
        if otp is not None:
            body["otp"] = otp
        if kept is not None and kept.device is not None and (kept.email, kept.server) == (who, self.base_url):
            body["device"] = kept.device
        tokens = await self._get(Tokens, "POST", "/v1/auth/login", json=body, signed=False)
        self._transport.sign_in(who, tokens.access_token, tokens.refresh_token, device=tokens.device)
        return tokens

    async def register(
        self,
        who: str,
        password: str,
        *,
        name: str | None = None,
        organization: str | None = None,
        code: str | None = None,
        challenge: str | None = None,
    ) -> Registered | CodeSent:
        """Become a user, or with `organization` the owner of a new tenant, and be signed in.

        CodeSent where the address must be proven first: call it again with the mailed code and the challenge.
        """
        given = {"name": name, "organization": organization, "code": code, "challenge": challenge}
        body = {"email" if "@" in who else "username": who, "password": password}
        body |= {field: value for field, value in given.items() if value is not None}
        answer = await self._transport.request("POST", "/v1/auth/register", json=body, signed=False)
        if "access_token" not in (answer or {}):
            return parsed(CodeSent, answer, self.base_url)
        made = parsed(Registered, answer, self.base_url)
        if organization is not None:
            self._transport.tenant = str(made.user.tenant.id)
        self._transport.sign_in(who, made.access_token, made.refresh_token)
        return made

    async def set_password(self, new: str, *, current: str | None = None) -> None:
        """Set the own password, or change it with the present one; the other sessions end."""
        body = {"new": new} | ({} if current is None else {"current": current})
        await self._transport.request("PUT", "/v1/users/me/password", json=body, repeatable=False)

    async def logout(self) -> None:
        """Revoke the refresh token and forget the tokens; they are forgotten even when the service is away."""
        credentials = self._transport.store.load()
        self._transport.store.clear()
        if credentials is not None and credentials.refresh_token is not None:
            body = {"refresh_token": credentials.refresh_token}
            headers = {"Authorization": f"Bearer {credentials.access_token}"}
            await self._transport.request("POST", "/v1/auth/logout", json=body, headers=headers, signed=False)

    async def me(self) -> User:
        """Who is signed in."""
        return await self._get(User, "GET", "/v1/users/me")

    async def _get(self, model: type[M], method: str, path: str, **options: Any) -> M:
        return parsed(model, await self._transport.request(method, path, **options), self.base_url)
