"""Give a chatbot a key, and tokens to the visitors of the pages that show it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from prometheus_client import Counter

from docuchat_auth.api_keys.domain import ApiKey
from docuchat_auth.api_keys.service import ApiKeys
from docuchat_auth.chatbots.domain import REMEMBERED, VISIT, Chatbot, Visit
from docuchat_auth.chatbots.errors import TooManyVisitors
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_common.clock import Clock
from docuchat_common.contracts.chatbots import ChatbotNotFound, is_of
from docuchat_common.errors import RequestTimeout
from docuchat_common.http.caller import Caller
from docuchat_common.http.identity import OriginNotAllowed
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.rate_limits import Limit, RateLimiter, Rates

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

_visits = Counter("docuchat_auth_visits", "Tokens for visitors of chatbots.", ["outcome"])


class Chatbots:
    """The keys and the visitors of chatbots. Chat makes and ends chatbots, and says which pages may show them."""

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        api_keys: ApiKeys,
        keys: KeyRing,
        revisions: Revisions,
        limiter: RateLimiter,
        clock: Clock,
        per_address: Rates,
    ) -> None:
        """`per_address` is how many tokens the visitors at one client address are given."""
        self._uow = uow
        self._api_keys = api_keys
        self._keys = keys
        self._revisions = revisions
        self._limiter = limiter
        self._clock = clock
        self._per_address = per_address

    async def put(
        self,
        tenant_id: TenantId,
        chatbot_id: UUID,
        origins: Collection[str],
        by: Caller,
        valid_until: datetime | None = None,
    ) -> tuple[ApiKey | None, str | None]:
        """Let pages of `origins` show the chatbot, and no others: its key, and the key's text when it was made now.

        A page that may show it no more takes all visitors' tokens with it: those of other pages are renewed at once.
        Raises TenantNotFound, and RequestTimeout after `valid_until`.
        """
        wanted = tuple(dict.fromkeys(origins))
        async with self._uow(tenant_id) as tx:
            await tx.chatbots.lock(chatbot_id)
            self._require_in_time(valid_until)
            chatbot = await tx.chatbots.find(tenant_id, chatbot_id)
            if chatbot is None:
                await tx.chatbots.add(Chatbot(tenant_id, chatbot_id, wanted, 0, by.subject_id, self._clock.now()))
                issued = await self._api_keys.make_for_chatbot(tx, tenant_id, chatbot_id, by)
                return issued.key, issued.text
            if not set(chatbot.origins) <= set(wanted):
                version = chatbot.version + 1
                await tx.chatbots.set_origins(replace(chatbot, origins=wanted, version=version))
                await self._revisions.record(tx, "chatbot", tenant_id, chatbot_id, state="changed", version=version)
            elif chatbot.origins != wanted:
                await tx.chatbots.set_origins(replace(chatbot, origins=wanted))
            return await tx.api_keys.find_of_chatbot(tenant_id, chatbot_id), None

    async def rotate(
        self,
        tenant_id: TenantId,
        chatbot_id: UUID,
        overlap: timedelta,
        by: Caller,
        valid_until: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Another secret of the chatbot's key, or another key when that was revoked.

        Raises ChatbotNotFound, and RequestTimeout after `valid_until`.
        """
        async with self._uow(tenant_id) as tx:
            await tx.chatbots.lock(chatbot_id)
            self._require_in_time(valid_until)
            if await tx.chatbots.find(tenant_id, chatbot_id) is None:
                raise ChatbotNotFound
            key = await self._locked_key(tx, tenant_id, chatbot_id)
            if key is None:
                issued = await self._api_keys.make_for_chatbot(tx, tenant_id, chatbot_id, by)
            else:
                issued = await self._api_keys.rotate_for_chatbot(tx, key, overlap, by)
            return issued.key, issued.text

    async def delete(self, tenant_id: TenantId, chatbot_id: UUID) -> None:
        """End the chatbot's key and all its visitors; once more is no error."""
        async with self._uow(tenant_id) as tx:
            await tx.chatbots.lock(chatbot_id)
            key = await self._locked_key(tx, tenant_id, chatbot_id)
            if key is not None:
                await self._api_keys.end(tx, tenant_id, key.id)
            if await tx.chatbots.delete(tenant_id, chatbot_id):
                await self._revisions.record(tx, "chatbot", tenant_id, chatbot_id, state="ended")

    async def admit(self, chatbot_id: UUID, origin: str | None, address: str, shown: str | None) -> Visit:
        """A token for a visitor on a page of `origin`: of whom the token `shown` names, else of somebody new.

        Raises ChatbotNotFound, OriginNotAllowed, TooManyVisitors.
        """
        limits = (Limit("visitors", address, rate) for rate in self._per_address)
        await self._limiter.require(*limits, error=TooManyVisitors)
        async with self._uow.system() as tx:
            tenant_id = await tx.chatbots.find_tenant(chatbot_id)
        if tenant_id is None:
            raise ChatbotNotFound
        async with self._uow(tenant_id) as tx:
            chatbot = await tx.chatbots.find(tenant_id, chatbot_id)
            tenant = await tx.tenants.find_by_id(tenant_id)
        if chatbot is None or tenant is None:
            raise ChatbotNotFound
        if origin is None or not is_of(origin, chatbot.origins):
            _visits.labels("refused").inc()
            raise OriginNotAllowed
        known = await self._visitor_of(shown, chatbot, origin)
        _visits.labels("new" if known is None else "renewed").inc()
        visitor_id = known or uuid7()
        token = await self._keys.sign_visitor_token(
            visitor_id,
            VISIT,
            tenant_id=tenant_id,
            tenant_slug=tenant.slug,
            customer_id=tenant.customer_id,
            chatbot_id=chatbot_id,
            origin=origin,
            version=chatbot.version,
        )
        return Visit(visitor_id, token)

    @staticmethod
    async def _locked_key(tx: Tx, tenant_id: TenantId, chatbot_id: UUID) -> ApiKey | None:
        """The chatbot's key, which nobody else changes or revokes until the transaction ends."""
        key = await tx.api_keys.find_of_chatbot(tenant_id, chatbot_id)
        if key is None:
            return None
        await tx.api_keys.lock(key.id)
        return await tx.api_keys.find(tenant_id, key.id)

    def _require_in_time(self, valid_until: datetime | None) -> None:
        """Refuse what a frozen process comes to late: what was asked since, of another process, is what holds."""
        if valid_until is not None and self._clock.now() > valid_until:
            raise RequestTimeout("Whoever asked for this has given up.")

    async def _visitor_of(self, shown: str | None, chatbot: Chatbot, origin: str) -> UUID | None:
        """Whom a token of this chatbot and page names."""
        claims = await self._keys.read(shown, late=REMEMBERED) if shown else None
        if claims is None:
            return None
        of_this = {"sub_type": "visitor", "chatbot": str(chatbot.id), "origin": origin, "tenant": chatbot.tenant_id}
        return UUID(claims["sub"]) if of_this.items() <= claims.items() else None
