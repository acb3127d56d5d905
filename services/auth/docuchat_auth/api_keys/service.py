"""Make, list, rotate and revoke API keys, and exchange them for short tokens."""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from docuchat_auth.api_keys.domain import MOST_LIVE, TOKEN_LIFETIME, ApiKey, IssuedKey, KeySecret, NewKey
from docuchat_auth.api_keys.errors import (
    ApiKeyNotFound,
    KeyExpiryPast,
    RightsExceeded,
    TooManyApiKeys,
)
from docuchat_auth.groups.service import groups_of
from docuchat_auth.revisions.service import Revisions
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_auth.users.domain import User
from docuchat_auth.users.service import require_still
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.api_keys import ApiKeySecret, KeyToken, new_api_key, parse_api_key
from docuchat_common.contracts.permissions import CHATBOT, PERMISSIONS, PERSONAL, Role
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.identity import AddressNotAllowed, InvalidApiKey
from docuchat_common.http.sign_ins import require_person, require_recent
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, UserId, uuid7

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()

_PREFIX = len("dck_") + 32 + len("_") + 4
"""What is shown of a key: its id, and four of the 64 digits of its secret to tell two of them apart."""

_SPARED = 4
"""Secrets of a chatbot's key, besides the newest, that a rotation lets go on."""


class ApiKeys:
    """The keys of a tenant and of its users."""

    def __init__(
        self, uow: UnitOfWork[Tx], keys: KeyRing, revisions: Revisions, clock: Clock, *, most: int = MOST_LIVE
    ) -> None:
        """`most` is how many keys a user may have, and the tenant itself."""
        self._uow = uow
        self._keys = keys
        self._revisions = revisions
        self._clock = clock
        self._most = most

    async def create(self, caller: Caller, wanted: NewKey, settle: Settle[IssuedKey] = without_key) -> IssuedKey:
        """A key of the caller, or of the tenant.

        Raises NotAllowed, RightsExceeded, RecentSignInRequired, KeyExpiryPast, TooManyApiKeys.
        """
        require_person(caller)
        _require_rights(caller, wanted)
        moment = self._clock.now()
        require_recent(caller, moment)
        if wanted.expires_at is not None and wanted.expires_at <= moment:
            raise KeyExpiryPast
        owner = caller.user_id if wanted.service_role is None else None
        key_id = uuid7()
        shown = new_api_key(key_id)
        key = ApiKey(
            tenant_id=caller.tenant_id,
            id=key_id,
            name=wanted.name,
            user_id=owner,
            role=wanted.service_role,
            scopes=frozenset(wanted.scopes),
            addresses=wanted.addresses,
            created_by=caller.subject_id,
            created_at=moment,
            expires_at=wanted.expires_at,
            secrets=(_secret(shown, moment, caller.subject_id),),
        )
        issued = IssuedKey(key, shown.text)
        async with self._uow(caller.tenant_id) as tx:
            if owner is None:
                await tx.users.lock_all(caller.tenant_id)  # before who asks: see transaction.py
            await require_still(tx, caller, "keys.use" if owner else "keys.manage")  # keys of one owner take turns
            if await tx.api_keys.count(caller.tenant_id, owner) >= self._most:
                raise TooManyApiKeys
            await tx.api_keys.add(key)
            tx.outbox.add(entry(caller, "api_key.create", key.id))
            await settle(tx, issued)
        return issued

    async def list_after(self, caller: Caller, after: UUID | None, limit: int) -> list[ApiKey]:
        """The next of the caller's keys by id, of all keys for who manages them."""
        subject = None if caller.can("keys.manage") else caller.subject_id
        async with self._uow(caller.tenant_id) as tx:
            return await tx.api_keys.list_after(caller.tenant_id, after, subject, limit)

    async def revoke(self, caller: Caller, key_id: UUID) -> None:
        """End a key and all its tokens. Raises ApiKeyNotFound."""
        async with self._uow(caller.tenant_id) as tx:
            await tx.api_keys.lock(key_id)
            await self._get(tx, caller, key_id)
            voided = await self.end(tx, caller.tenant_id, key_id)
            detail = f"{voided} invitations void" if voided else None
            tx.outbox.add(entry(caller, "api_key.revoke", key_id, detail=detail))

    async def rotate(
        self, caller: Caller, key_id: UUID, overlap: timedelta, settle: Settle[IssuedKey] = without_key
    ) -> IssuedKey:
        """Another secret; the one before opens the key until `overlap` has passed, any older one no more.

        Only the own keys and the tenant's: whoever could rotate somebody else's would act as that person. Raises
        ApiKeyNotFound, NotAllowed, RightsExceeded, RecentSignInRequired.
        """
        require_person(caller)
        async with self._uow(caller.tenant_id) as tx:
            await tx.api_keys.lock(key_id)
            key = await self._get(tx, caller, key_id)
            if key.chatbot_id is not None:
                raise NotAllowed("Rotate a chatbot's key at the chatbot: POST /v1/chatbots/{id}/rotate_key.")
            if key.user_id not in (None, caller.user_id):
                raise NotAllowed("Only the user whose key it is may rotate it; you can revoke it.")
            if key.role is not None and not _rights(key.role, key.scopes) <= _rights(caller.role, caller.scopes):
                raise RightsExceeded
            require_recent(caller, self._clock.now())
            await require_still(tx, caller, "keys.use" if key.user_id else "keys.manage")
            issued = await self._replace_secret(tx, key, overlap, caller.subject_id)
            tx.outbox.add(entry(caller, "api_key.rotate", key_id))
            await settle(tx, issued)
        return issued

    async def make_for_chatbot(self, tx: Tx, tenant_id: TenantId, chatbot_id: UUID, by: Caller) -> IssuedKey:
        """A key of a chatbot of the transaction, which `by` asks for."""
        moment, shown = self._clock.now(), new_api_key(uuid7())
        key = ApiKey(
            tenant_id=tenant_id,
            id=shown.id,
            name="chatbot",
            user_id=None,
            role=None,
            scopes=PERMISSIONS[CHATBOT],
            addresses=(),
            created_by=by.subject_id,
            created_at=moment,
            expires_at=None,
            chatbot_id=chatbot_id,
            secrets=(_secret(shown, moment, by.subject_id),),
        )
        await tx.api_keys.add(key)
        tx.outbox.add(_of_chatbot(key, "api_key.create", by))
        return IssuedKey(key, shown.text)

    async def rotate_for_chatbot(self, tx: Tx, key: ApiKey, overlap: timedelta, by: Caller) -> IssuedKey:
        """As `rotate`, of a chatbot's key that the transaction has locked; chat has judged who may.

        Chat may have to ask again because an answer was lost: what programs use goes on even so.
        """
        issued = await self._replace_secret(tx, key, overlap, by.subject_id, spared=_SPARED)
        tx.outbox.add(_of_chatbot(key, "api_key.rotate", by))
        return issued

    async def exchange(self, text: str, address: str) -> KeyToken:
        """A short token for the key `text` of a client at `address`. Raises InvalidApiKey, AddressNotAllowed."""
        shown = parse_api_key(text)
        if shown is None:
            raise InvalidApiKey
        async with self._uow.system() as tx:
            tenant_id = await tx.api_keys.find_tenant(shown.id)
        if tenant_id is None:
            raise InvalidApiKey
        async with self._uow(tenant_id) as tx:
            return await self._exchange(tx, tenant_id, shown, address)

    async def _exchange(self, tx: Tx, tenant_id: TenantId, shown: ApiKeySecret, address: str) -> KeyToken:
        moment = self._clock.now()
        key = await tx.api_keys.find(tenant_id, shown.id)
        tenant = await tx.tenants.find_by_id(tenant_id)
        secret = None if key is None else _opened_by(key, shown)
        if key is None or secret is None or tenant is None:
            raise InvalidApiKey
        end = key.ends_at(secret)
        lifetime = TOKEN_LIFETIME if end is None else min(TOKEN_LIFETIME, end - moment)
        user = None if key.user_id is None else await self._live_user(tx, tenant_id, key.user_id)
        if lifetime < timedelta(seconds=1) or (user is None) != (key.user_id is None):
            raise InvalidApiKey
        if not key.admits(address):
            raise AddressNotAllowed
        await tx.api_keys.record_use(tenant_id, secret.id, moment, address)
        token = await self._keys.sign_key_token(
            key.id,
            lifetime,
            tenant_id=tenant_id,
            tenant_slug=tenant.slug,
            customer_id=tenant.customer_id,
            role=CHATBOT if key.chatbot_id else (user.role if user is not None else key.role) or Role.VIEWER,
            scopes=key.scopes,
            secret_id=secret.id,
            user=user,
            groups=() if user is None else await groups_of(tx, user),
            chatbot_id=key.chatbot_id,
        )
        return KeyToken(access_token=token, expires_in=int(lifetime.total_seconds()))

    async def _replace_secret(
        self, tx: Tx, key: ApiKey, overlap: timedelta, shown_to: UUID, *, spared: int = 0
    ) -> IssuedKey:
        """With an overlap the newest secret goes on until that has passed, and so do some `spared` before it."""
        moment, shown = self._clock.now(), new_api_key(key.id)
        lasting = key.secrets[: 1 + spared] if overlap else ()
        for secret in key.secrets[len(lasting) :]:
            await tx.api_keys.delete_secret(key.tenant_id, secret.id)
            await self._revisions.record(tx, "key", key.tenant_id, secret.id, state="ended")
        kept = [await self._end_after(tx, key, secret, moment, overlap) for secret in lasting]
        secret = _secret(shown, moment, shown_to)
        await tx.api_keys.add_secret(key.tenant_id, secret)
        return IssuedKey(replace(key, secrets=(secret, *kept)), shown.text)

    async def _end_after(
        self, tx: Tx, key: ApiKey, secret: KeySecret, moment: datetime, overlap: timedelta
    ) -> KeySecret:
        """A secret that ends when the overlap has passed, if it does not end sooner."""
        if secret.ends_at is not None and secret.ends_at <= moment + overlap:
            return secret
        is_brief = overlap < TOKEN_LIFETIME  # a token that is out there would outlive the secret
        kept = replace(secret, id=uuid7() if is_brief else secret.id, ends_at=moment + overlap)
        await tx.api_keys.end_secret(key.tenant_id, secret.id, kept)
        if is_brief:
            await self._revisions.record(tx, "key", key.tenant_id, secret.id, state="ended")
        return kept

    @staticmethod
    async def _live_user(tx: Tx, tenant_id: TenantId, user_id: UserId) -> User | None:
        user = await tx.users.find_by_id(tenant_id, user_id)
        return user if user is not None and user.is_active else None

    async def end(self, tx: Tx, tenant_id: TenantId, key_id: UUID) -> int:
        """End a key with its tokens; how many invitations end with it."""
        if not await tx.api_keys.delete(tenant_id, key_id):
            return 0
        await tx.requests.forget_about(tenant_id, key_id)
        await self._revisions.record(tx, "key", tenant_id, key_id, state="ended")
        return await tx.invitations.void(tenant_id, key_id, all_roles=True)

    @staticmethod
    async def _get(tx: Tx, caller: Caller, key_id: UUID) -> ApiKey:
        """A key of the caller, itself, or for who manages keys any of the tenant."""
        key = await tx.api_keys.find(caller.tenant_id, key_id)
        if key is None or not (caller.subject_id in (key.user_id, key.id) or caller.can("keys.manage")):
            raise ApiKeyNotFound
        return key


def _of_chatbot(key: ApiKey, name: str, by: Caller) -> AuditRecorded:
    return entry(by, name, key.id, detail=f"of chatbot {key.chatbot_id}")


def _rights(role: str | None, scopes: frozenset[str] | None) -> frozenset[str]:
    allowed: frozenset[str] = PERMISSIONS.get(role or "", frozenset())
    return allowed if scopes is None else allowed & scopes


def _require_rights(caller: Caller, wanted: NewKey) -> None:
    own = _rights(caller.role, caller.scopes)
    if not wanted.scopes <= own:
        raise RightsExceeded
    if wanted.scopes & PERSONAL:
        raise RightsExceeded("Identity providers and domains are managed by people who sign in, not by keys.")
    if wanted.service_role is not None:
        caller.require("keys.manage")
        of_role = PERMISSIONS[wanted.service_role]
        if not (of_role <= own and wanted.scopes <= of_role):
            raise RightsExceeded


def _secret(shown: ApiKeySecret, moment: datetime, shown_to: UUID) -> KeySecret:
    return KeySecret(uuid7(), shown.id, shown.text[:_PREFIX], shown.secret_hash, moment, shown_to, None)


def _opened_by(key: ApiKey, shown: ApiKeySecret) -> KeySecret | None:
    matching = [secret for secret in key.secrets if hmac.compare_digest(secret.secret_hash, shown.secret_hash)]
    return matching[0] if matching else None
