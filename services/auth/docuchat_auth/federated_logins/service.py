"""Sign in by a tenant's identity provider: authorization code, PKCE, nonce, and a state bound to the browser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import UUID

import structlog

from docuchat_auth.federated_logins.admission import Admission
from docuchat_auth.federated_logins.domain import (
    Flow,
    Grant,
    ProviderAnswer,
    Turn,
    challenge_of,
    is_same,
    name_of,
    new_secret,
)
from docuchat_auth.federated_logins.errors import (
    InvalidSignInCode,
    NotAdmitted,
    ProviderAnswerInvalid,
    ReturnNotAllowed,
    SignInDenied,
    SignInEnded,
)
from docuchat_auth.federated_logins.ports import OpenIdProviders
from docuchat_auth.federated_logins.store import PendingSignIns
from docuchat_auth.identity_providers.domain import IdentityProvider, callback_of
from docuchat_auth.identity_providers.errors import IdentityProviderNotFound
from docuchat_auth.sessions.domain import SignInMethod, TokenPair
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.errors import DocuChatError
from docuchat_common.http.caller import Caller
from docuchat_common.ids import TenantId

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Places:
    """Our own address as browsers know it, and those that a sign-in may lead back to."""

    public_url: str
    return_urls: frozenset[str]

    def admits(self, url: str) -> bool:
        """Whether a browser may be sent there with a code: exactly an address that is allowed, or our own pages."""
        return url in self.return_urls or (url.isascii() and url.startswith(f"{self.public_url}/"))

    def cookie_name(self, state: str) -> str:
        """One for each sign-in, so that two in one browser stay apart; with https no other host can set it."""
        prefix = "__Host-" if self.public_url.startswith("https:") else ""
        return f"{prefix}docuchat-sign-in-{name_of(state)[:16]}"


class FederatedSignIn:
    """Signs in by a provider.

    The browser leaves with a cookie and a state and comes back with both; what the provider says of the person is
    sealed under a code of a minute, for which the front end that began gets tokens. No token stands in any URL.
    """

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        tenants: TenantDirectory,
        sessions: Sessions,
        openid: OpenIdProviders,
        pending: PendingSignIns,
        admission: Admission,
        clock: Clock,
        places: Places,
    ) -> None:
        self._uow = uow
        self._tenants = tenants
        self._sessions = sessions
        self._openid = openid
        self._pending = pending
        self._admission = admission
        self._clock = clock
        self._places = places

    async def begin(self, tenant: str, provider_id: UUID, return_to: str, challenge: str) -> Turn:
        """Send a browser to the provider. `challenge` is the front end's, of PKCE.

        Raises IdentityProviderNotFound, ReturnNotAllowed, IdentityProviderUnavailable.
        """
        found = await self._tenants.find_by_reference(tenant)
        if found is None:
            raise IdentityProviderNotFound
        provider = await self._get_active(found.id, provider_id)
        if not self._places.admits(return_to):
            raise ReturnNotAllowed
        metadata = await self._openid.discover(provider)
        state, nonce, verifier, cookie = (new_secret() for _ in range(4))
        flow = Flow(found.id, provider.id, nonce, verifier, name_of(cookie), return_to, challenge)
        await self._pending.put_flow(state, flow)
        url = _with(metadata.authorization_endpoint, self._question(provider, state, flow))
        return Turn(url, self._places.cookie_name(state), cookie)

    async def receive(self, provider_id: UUID, answer: ProviderAnswer, cookies: Mapping[str, str]) -> Turn:
        """Send a browser that comes back on, with a code or with what went wrong. Raises SignInEnded."""
        flow = None if answer.state is None else await self._pending.take_flow(answer.state)
        if flow is None or answer.state is None or flow.provider_id != provider_id:
            raise SignInEnded
        cookie_name = self._places.cookie_name(answer.state)
        if not is_same(name_of(cookies.get(cookie_name, "")), flow.browser):
            logger.warning("oidc.other_browser", tenant_id=flow.tenant_id, provider_id=str(provider_id))
            raise SignInEnded
        code = new_secret()
        try:
            await self._pending.put_grant(code, await self._redeem(flow, answer))
        except DocuChatError as error:
            logger.info("oidc.failed", tenant_id=flow.tenant_id, provider_id=str(provider_id), code=error.code)
            told = {"error": error.code, "error_description": error.detail}
            return Turn(_with(flow.return_to, told), cookie_name)
        return Turn(_with(flow.return_to, {"code": code}), cookie_name)

    async def exchange(self, code: str, verifier: str) -> TokenPair:
        """Tokens for a code. Raises InvalidSignInCode, NotAdmitted, TooManyGroups."""
        grant = await self._pending.take_grant(code)
        if grant is None or not is_same(challenge_of(verifier), grant.challenge):
            raise InvalidSignInCode
        async with self._uow(grant.tenant_id) as tx:
            tenant = await tx.tenants.find_by_id(grant.tenant_id)
            provider = await tx.identity_providers.find(grant.tenant_id, grant.provider_id)
            if tenant is None or provider is None or not provider.is_active:
                raise NotAdmitted
            user, detail = await self._admission.admit(tx, tenant, provider, grant.person)
            await tx.users.record_login(tenant.id, user.id, self._clock.now())
            session = await self._sessions.start(tx, user, SignInMethod.OIDC, is_part=True)
            who = Caller(tenant.id, "user", user.id, role=user.role.value)
            tx.outbox.add(entry(who, "session.start", session.id, object_type="session", detail=detail))
        logger.info("user.signed_in", tenant_id=tenant.id, user_id=str(user.id), by="identity provider")
        return await self._sessions.pair(session, tenant)

    async def _redeem(self, flow: Flow, answer: ProviderAnswer) -> Grant:
        provider = await self._get_active(flow.tenant_id, flow.provider_id)
        metadata = await self._openid.discover(provider)
        if (answer.issuer or metadata.names_itself) and answer.issuer != metadata.issuer:
            raise ProviderAnswerInvalid  # of another provider than was asked (RFC 9207)
        if answer.error is not None or not answer.code:
            raise SignInDenied
        person = await self._openid.redeem(
            provider,
            answer.code,
            redirect_uri=callback_of(self._places.public_url, provider.id),
            verifier=flow.verifier,
            nonce=flow.nonce,
        )
        return Grant(flow.tenant_id, flow.provider_id, flow.challenge, person)

    async def _get_active(self, tenant_id: TenantId, provider_id: UUID) -> IdentityProvider:
        async with self._uow(tenant_id) as tx:
            provider = await tx.identity_providers.find(tenant_id, provider_id)
        if provider is None or not provider.is_active:
            raise IdentityProviderNotFound
        return provider

    def _question(self, provider: IdentityProvider, state: str, flow: Flow) -> dict[str, str]:
        return {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": callback_of(self._places.public_url, provider.id),
            "scope": " ".join(provider.scopes),
            "state": state,
            "nonce": flow.nonce,
            "code_challenge": challenge_of(flow.verifier),
            "code_challenge_method": "S256",
        }


def _with(url: str, fields: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(fields)}"
