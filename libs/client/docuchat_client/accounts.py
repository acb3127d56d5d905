"""Signing in and out, registering, the own password, sessions and API keys: what is about who a client works for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from docuchat_client.bodies import parsed
from docuchat_client.calls import Calls
from docuchat_client.errors import NotFound
from docuchat_client.identity import (
    ApiKey,
    IssuedApiKey,
    LinkedIdentities,
    LinkedIdentity,
    Passkey,
    Passkeys,
    RecoveryCodes,
    SecondFactor,
    Session,
    TotpSecret,
)
from docuchat_client.models import CodeSent, Page, Registered, Tokens, User

_SECOND_FACTOR = "/v1/users/me/second-factor"


class Accounts(Calls):
    """The part of a client that is about who it works for."""

    _challenges: dict[str, str | None]

    @property
    def tenant(self) -> str | None:
        """The tenant that is named in requests, if one is."""
        return self._transport.tenant

    @tenant.setter
    def tenant(self, reference: str | None) -> None:
        self._transport.tenant = reference

    async def request_code(self, email: str) -> CodeSent:
        """Have a sign-in code sent to the address."""
        kept = self._transport.store.load()
        body = {"email": email}
        if kept is not None and kept.challenge is not None and (kept.email, kept.server) == (email, self.base_url):
            body["challenge"] = kept.challenge
        sent = await self._get(CodeSent, "POST", "/v1/auth/request-code", json=body, signed=False)
        self._challenges[email] = sent.challenge
        return sent

    async def verify_code(
        self, email: str, code: str, *, challenge: str | None = None, otp: str | None = None
    ) -> Tokens:
        """Sign in with the code, and with that of a second factor; the tokens are kept and used from now on.

        `challenge` came with the answer to `request_code`; that of this client's own request is known.
        """
        challenge = challenge or self._challenges.get(email)
        body = {"email": email, "code": code.strip()}
        if challenge is not None:
            body["challenge"] = challenge
        if otp is not None:
            body["otp"] = otp
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

    async def verify_email(self, code: str, *, challenge: str | None = None) -> None:
        """Prove the address that one registered with by the mailed code."""
        body = {"code": code.strip()} | ({} if challenge is None else {"challenge": challenge})
        await self._transport.request("POST", "/v1/auth/verify-email", json=body, repeatable=False)

    async def request_verification(self) -> CodeSent:
        """Have another code sent to the address that one registered with."""
        return await self._get(CodeSent, "POST", "/v1/auth/verify-email/request")

    async def set_password(self, new: str, *, current: str | None = None) -> None:
        """Set the own password, or change it with the present one; the other sessions end."""
        body = {"new": new} | ({} if current is None else {"current": current})
        await self._transport.request("PUT", "/v1/users/me/password", json=body, repeatable=False)

    async def forgot_password(self, email: str) -> CodeSent:
        """Have a code sent with which a new password is set; the answer is the same for every address."""
        sent = await self._get(CodeSent, "POST", "/v1/auth/password/forgot", json={"email": email}, signed=False)
        self._challenges[email] = sent.challenge
        return sent

    async def reset_password(self, email: str, code: str, password: str, *, challenge: str | None = None) -> None:
        """Set a new password with the mailed code. All sessions end, and nobody is signed in by it."""
        body = {"email": email, "code": code.strip(), "password": password}
        if (challenge := challenge or self._challenges.get(email)) is not None:
            body["challenge"] = challenge
        await self._transport.request("POST", "/v1/auth/password/reset", json=body, signed=False, repeatable=False)

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

    async def change_me(self, name: str) -> User:
        """Change what one is called."""
        return await self._get(User, "PATCH", "/v1/users/me", json={"name": name}, repeatable=True)

    async def own_identities(self) -> list[LinkedIdentity]:
        """By which identity providers one signs in."""
        return (await self._get(LinkedIdentities, "GET", "/v1/users/me/identities")).items

    async def cut_own_identity(self, provider_id: UUID | str) -> None:
        """Cut one's link to an identity provider; the other sessions end."""
        await self._transport.request("DELETE", f"/v1/users/me/identities/{provider_id}")

    async def passkeys(self) -> list[Passkey]:
        """One's passkeys, the oldest first; browsers make them."""
        return (await self._get(Passkeys, "GET", "/v1/users/me/passkeys")).items

    async def remove_passkey(self, passkey_id: UUID | str) -> None:
        """Take a passkey away; nobody signs in with it any more."""
        await self._transport.request("DELETE", f"/v1/users/me/passkeys/{passkey_id}")

    # The second factor

    async def second_factor(self) -> SecondFactor:
        """What one has beside the first proof."""
        return await self._get(SecondFactor, "GET", f"{_SECOND_FACTOR}")

    async def begin_totp(self) -> TotpSecret:
        """A secret for an authenticator app; `confirm_totp` puts it in force."""
        return await self._get(TotpSecret, "POST", f"{_SECOND_FACTOR}/totp")

    async def confirm_totp(self, otp: str) -> RecoveryCodes:
        """Put the app in force with a code of it; the other sessions end. The codes are shown here and nowhere else."""
        return await self._get(RecoveryCodes, "POST", f"{_SECOND_FACTOR}/totp/confirm", json={"otp": otp})

    async def renew_recovery_codes(self) -> RecoveryCodes:
        """Ten others; those before are void."""
        return await self._get(RecoveryCodes, "POST", f"{_SECOND_FACTOR}/recovery-codes")

    async def remove_totp(self) -> None:
        """Take the authenticator app away; the other sessions end."""
        await self._transport.request("DELETE", f"{_SECOND_FACTOR}/totp")

    # Where one is signed in

    def sessions(self) -> AsyncIterator[Session]:
        """Every sign-in of one's own that goes on, the newest first."""
        return self._every(Page[Session], "/v1/sessions")

    async def find_session(self, reference: UUID | str) -> Session:
        """The sign-in of one's own with this id, or whose id ends so. Raises NotFound."""
        named = str(reference).strip().lower().lstrip("…")
        found = [session async for session in self.sessions() if named and str(session.id).endswith(named)]
        if len(found) == 1:
            return found[0]
        how_many = "More than one sign-in ends in" if found else "There is no sign-in"
        raise NotFound(f"{how_many} {named!r}; `docuchat sessions list` shows them.", code="session_not_found")

    async def end_session(self, session_id: UUID | str) -> None:
        """End a sign-in: its tokens and open sockets, within seconds."""
        await self._transport.request("DELETE", f"/v1/sessions/{session_id}")

    async def end_other_sessions(self) -> None:
        """End all of one's sign-ins but this one."""
        await self._transport.request("DELETE", "/v1/sessions")

    # API keys

    def api_keys(self) -> AsyncIterator[ApiKey]:
        """Every API key of one's own; of the tenant, for who may manage them."""
        return self._every(Page[ApiKey], "/v1/api-keys")

    async def find_api_key(self, reference: UUID | str) -> ApiKey:
        """The API key of this id, prefix or name. Raises NotFound."""
        named = str(reference).strip()
        async for key in self.api_keys():
            if named.lower() == str(key.id) or named in (key.prefix, key.name):
                return key
        raise NotFound(f"There is no API key {named!r}; `docuchat keys list` shows them.", code="api_key_not_found")

    async def create_api_key(
        self,
        name: str,
        scopes: Sequence[str],
        *,
        expires_at: datetime | None = None,
        addresses: Sequence[str] = (),
        service: bool = False,
        role: str | None = None,
        idempotency_key: str | None = None,
    ) -> IssuedApiKey:
        """A key of one's own, or with `service` of the tenant. Its secret is in this answer and nowhere else."""
        body: dict[str, Any] = {"name": name, "scopes": [*scopes], "addresses": [*addresses], "service": service}
        body |= {} if expires_at is None else {"expires_at": expires_at.astimezone().isoformat()}
        body |= {} if role is None else {"role": role}
        return await self._create(IssuedApiKey, "/v1/api-keys", body, idempotency_key)

    async def rotate_api_key(
        self, key_id: UUID | str, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> IssuedApiKey:
        """Another secret; the one before works on for an hour, or for `overlap_seconds`."""
        body = {} if overlap_seconds is None else {"overlap_seconds": overlap_seconds}
        return await self._create(IssuedApiKey, f"/v1/api-keys/{key_id}/rotate", body, idempotency_key)

    async def revoke_api_key(self, key_id: UUID | str) -> None:
        """End a key; it opens nothing any more within two seconds."""
        await self._transport.request("DELETE", f"/v1/api-keys/{key_id}")
