"""Written by scripts/write_blocking.py from accounts.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.identity import (
    ApiKey,
    IssuedApiKey,
    LinkedIdentity,
    Passkey,
    RecoveryCodes,
    SecondFactor,
    Session,
    TotpSecret,
)
from docuchat_client.models import CodeSent, Registered, Tokens, User


class BlockingAccounts(Blocking):
    """The part of a client that is about who it works for."""

    _client: AsyncDocuChat

    @property
    def tenant(self) -> str | None:
        """The tenant that is named in requests, if one is."""
        return self._client.tenant

    @tenant.setter
    def tenant(self, reference: str | None) -> None:
        self._client.tenant = reference

    def request_code(self, email: str) -> CodeSent:
        """Have a sign-in code sent to the address."""
        return self._loop.run(self._client.request_code(email))

    def verify_code(self, email: str, code: str, *, challenge: str | None = None, otp: str | None = None) -> Tokens:
        """Sign in with the code, and with that of a second factor; the tokens are kept and used from now on.

        `challenge` came with the answer to `request_code`; that of this client's own request is known.
        """
        return self._loop.run(self._client.verify_code(email, code, challenge=challenge, otp=otp))

    def login_with_password(self, who: str, password: str, *, otp: str | None = None) -> Tokens:
        """Sign in with an address or a user name; the tokens are kept and used from now on.

        The device that the service names is kept and shown the next time.
        """
        return self._loop.run(self._client.login_with_password(who, password, otp=otp))

    def register(
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
        return self._loop.run(
            self._client.register(who, password, name=name, organization=organization, code=code, challenge=challenge)
        )

    def verify_email(self, code: str, *, challenge: str | None = None) -> None:
        """Prove the address that one registered with by the mailed code."""
        self._loop.run(self._client.verify_email(code, challenge=challenge))

    def request_verification(self) -> CodeSent:
        """Have another code sent to the address that one registered with."""
        return self._loop.run(self._client.request_verification())

    def set_password(self, new: str, *, current: str | None = None) -> None:
        """Set the own password, or change it with the present one; the other sessions end."""
        self._loop.run(self._client.set_password(new, current=current))

    def forgot_password(self, email: str) -> CodeSent:
        """Have a code sent with which a new password is set; the answer is the same for every address."""
        return self._loop.run(self._client.forgot_password(email))

    def reset_password(self, email: str, code: str, password: str, *, challenge: str | None = None) -> None:
        """Set a new password with the mailed code. All sessions end, and nobody is signed in by it."""
        self._loop.run(self._client.reset_password(email, code, password, challenge=challenge))

    def logout(self) -> None:
        """Revoke the refresh token and forget the tokens; they are forgotten even when the service is away."""
        self._loop.run(self._client.logout())

    def me(self) -> User:
        """Who is signed in."""
        return self._loop.run(self._client.me())

    def change_me(self, name: str) -> User:
        """Change what one is called."""
        return self._loop.run(self._client.change_me(name))

    def own_identities(self) -> list[LinkedIdentity]:
        """By which identity providers one signs in."""
        return self._loop.run(self._client.own_identities())

    def cut_own_identity(self, provider_id: UUID | str) -> None:
        """Cut one's link to an identity provider; the other sessions end."""
        self._loop.run(self._client.cut_own_identity(provider_id))

    def passkeys(self) -> list[Passkey]:
        """One's passkeys, the oldest first; browsers make them."""
        return self._loop.run(self._client.passkeys())

    def remove_passkey(self, passkey_id: UUID | str) -> None:
        """Take a passkey away; nobody signs in with it any more."""
        self._loop.run(self._client.remove_passkey(passkey_id))

    def second_factor(self) -> SecondFactor:
        """What one has beside the first proof."""
        return self._loop.run(self._client.second_factor())

    def begin_totp(self) -> TotpSecret:
        """A secret for an authenticator app; `confirm_totp` puts it in force."""
        return self._loop.run(self._client.begin_totp())

    def confirm_totp(self, otp: str) -> RecoveryCodes:
        """Put the app in force with a code of it; the other sessions end. The codes are shown here and nowhere else."""
        return self._loop.run(self._client.confirm_totp(otp))

    def renew_recovery_codes(self) -> RecoveryCodes:
        """Ten others; those before are void."""
        return self._loop.run(self._client.renew_recovery_codes())

    def remove_totp(self) -> None:
        """Take the authenticator app away; the other sessions end."""
        self._loop.run(self._client.remove_totp())

    def sessions(self) -> Iterator[Session]:
        """Every sign-in of one's own that goes on, the newest first."""
        return self._loop.iterate(self._client.sessions())

    def find_session(self, reference: UUID | str) -> Session:
        """The sign-in of one's own with this id, or whose id ends so. Raises NotFound."""
        return self._loop.run(self._client.find_session(reference))

    def end_session(self, session_id: UUID | str) -> None:
        """End a sign-in: its tokens and open sockets, within seconds."""
        self._loop.run(self._client.end_session(session_id))

    def end_other_sessions(self) -> None:
        """End all of one's sign-ins but this one."""
        self._loop.run(self._client.end_other_sessions())

    def api_keys(self) -> Iterator[ApiKey]:
        """Every API key of one's own; of the tenant, for who may manage them."""
        return self._loop.iterate(self._client.api_keys())

    def find_api_key(self, reference: UUID | str) -> ApiKey:
        """The API key of this id, prefix or name. Raises NotFound."""
        return self._loop.run(self._client.find_api_key(reference))

    def create_api_key(
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
        return self._loop.run(
            self._client.create_api_key(
                name,
                scopes,
                expires_at=expires_at,
                addresses=addresses,
                service=service,
                role=role,
                idempotency_key=idempotency_key,
            )
        )

    def rotate_api_key(
        self, key_id: UUID | str, *, overlap_seconds: int | None = None, idempotency_key: str | None = None
    ) -> IssuedApiKey:
        """Another secret; the one before works on for an hour, or for `overlap_seconds`."""
        return self._loop.run(
            self._client.rotate_api_key(key_id, overlap_seconds=overlap_seconds, idempotency_key=idempotency_key)
        )

    def revoke_api_key(self, key_id: UUID | str) -> None:
        """End a key; it opens nothing any more within two seconds."""
        self._loop.run(self._client.revoke_api_key(key_id))
