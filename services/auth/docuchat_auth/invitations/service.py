"""Invite people, and let those in who show what was mailed to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog

from docuchat_auth.codes.pseudonyms import KeyedPseudonyms
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.invitations.domain import Invitation, InvitationMail, hash_token, new_token, tenant_in
from docuchat_auth.invitations.errors import AddressUnproven, AlreadyMember, InvalidInvitation, InvitationNotFound
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.members.service import owns
from docuchat_auth.passwords.service import Passwords
from docuchat_auth.sessions.domain import SignInMethod, TokenPair
from docuchat_auth.sessions.service import Sessions
from docuchat_auth.users.domain import Email, Newcomer, User
from docuchat_auth.users.service import require_person, require_still
from docuchat_common.audit import entry
from docuchat_common.clock import Clock
from docuchat_common.contracts.permissions import Role
from docuchat_common.events.catalogue import UserRegistered
from docuchat_common.http.caller import Caller
from docuchat_common.idempotency import Settle, without_key
from docuchat_common.ids import TenantId, uuid7
from docuchat_common.rate_limits import Limit, Rate, RateLimiter, Rates

if TYPE_CHECKING:
    from docuchat_auth.transaction import Tx
    from docuchat_common.db import UnitOfWork

logger = structlog.get_logger()


_SHARES: Final = 4
"""All tenants together may send an address this many times what one of them may."""


@dataclass(frozen=True, slots=True)
class InvitationPolicy:
    """How long an invitation can be accepted, and how many mails leave."""

    lifetime: timedelta
    per_tenant: Rates
    per_email: Rates
    """Of one tenant. All together have four times of it: nobody is flooded through us."""


class Invitations:
    """Invites and admits. One invitation an address: another one takes its place, and the older mail is void."""

    def __init__(
        self,
        uow: UnitOfWork[Tx],
        sessions: Sessions,
        passwords: Passwords,
        limiter: RateLimiter,
        pseudonyms: KeyedPseudonyms,
        hand_over: Callable[[InvitationMail], Awaitable[None]],
        clock: Clock,
        policy: InvitationPolicy,
    ) -> None:
        """`hand_over` takes an invitation on its way to its address."""
        self._uow = uow
        self._sessions = sessions
        self._passwords = passwords
        self._limiter = limiter
        self._pseudonyms = pseudonyms
        self._hand_over = hand_over
        self._clock = clock
        self._policy = policy

    async def invite(
        self, caller: Caller, email: Email, role: Role, settle: Settle[Invitation] = without_key
    ) -> Invitation:
        """Mail an invitation.

        Raises NotAllowed, OwnersOnly, AddressUnproven, AlreadyMember, TooManyAttempts, MailBacklog.
        """
        moment = self._clock.now()
        wanted = Invitation(
            caller.tenant_id, uuid7(), email, role, _inviter(caller), moment, moment + self._policy.lifetime
        )

        async def put(tx: Tx, token_hash: bytes) -> Invitation:
            return await tx.invitations.put(wanted, token_hash)

        return await self._send(caller, "invitation.create", wanted, put, settle)

    async def resend(self, caller: Caller, invitation_id: UUID) -> Invitation:
        """Mail a new token in place of the older one, for the whole time again.

        Raises InvitationNotFound, OwnersOnly, AddressUnproven, AlreadyMember, TooManyAttempts, MailBacklog.
        """
        async with self._uow(caller.tenant_id) as tx:
            await require_still(tx, caller, "users.manage")
            found = await tx.invitations.find(caller.tenant_id, invitation_id)
        if found is None:
            raise InvitationNotFound
        moment = self._clock.now()
        again = replace(
            found, invited_by=_inviter(caller), created_at=moment, expires_at=moment + self._policy.lifetime
        )

        async def renew(tx: Tx, token_hash: bytes) -> Invitation:
            renewed = await tx.invitations.renew(again, token_hash)
            if renewed is None:  # accepted or revoked since it was found
                raise InvitationNotFound
            return renewed

        return await self._send(caller, "invitation.resend", again, renew, without_key)

    async def list_after(self, tenant_id: TenantId, after: UUID | None, limit: int) -> list[Invitation]:
        """The next invitations by id, those that have expired too."""
        async with self._uow(tenant_id) as tx:
            return await tx.invitations.list_after(tenant_id, after, limit)

    async def revoke(self, caller: Caller, invitation_id: UUID) -> None:
        """Take an invitation back. Raises InvitationNotFound, and as `require_still`."""
        tenant_id = caller.tenant_id
        async with self._uow(tenant_id) as tx:
            await require_still(tx, caller, "users.manage")
            if not await tx.invitations.delete(tenant_id, invitation_id):
                raise InvitationNotFound
            tx.outbox.add(entry(caller, "invitation.revoke", invitation_id))
            await tx.requests.forget_about(tenant_id, invitation_id)
        logger.info("invitation.revoked", tenant_id=tenant_id, invitation_id=str(invitation_id))

    async def forget_expired(self, keep: timedelta) -> int:
        """Delete invitations that ended longer than `keep` ago; returns how many."""
        async with self._uow.system() as tx:
            return await tx.invitations.delete_expired(self._clock.now() - keep)

    async def accept(self, token: str, name: str | None, password: str | None, network: str) -> TokenPair:
        """Become a user, whose address is proven by that: its mail brought the token.

        Raises InvalidInvitation, AlreadyMember, TooManyAttempts, PasswordTooWeak, PasswordsBusy.
        """
        tenant_id = tenant_in(token)
        if tenant_id is None:
            raise InvalidInvitation
        async with self._uow(tenant_id) as tx:
            live = await tx.invitations.find_live(tenant_id, hash_token(token), self._clock.now())
        if live is None:
            raise InvalidInvitation
        hash_ = None if password is None else await self._passwords.make(password, network, live.email, name)
        async with self._uow(tenant_id) as tx:
            tenant = await tx.tenants.find_by_id(tenant_id)
            taken = await tx.invitations.take(tenant_id, hash_token(token), self._clock.now())
            if taken is None or tenant is None:
                raise InvalidInvitation
            if tenant.state != "active":
                raise InvalidInvitation("The tenant takes nobody at present; try again when it does.")
            user = await self._register(tx, taken, name)
            if hash_ is not None:
                await tx.passwords.put(tenant_id, user.id, hash_, self._clock.now())
            await tx.requests.forget_about(tenant_id, taken.id)
            session = await self._sessions.start(tx, user, SignInMethod.INVITATION, is_part=True)
        logger.info("user.registered", tenant_id=tenant_id, user_id=str(user.id), role=user.role.value, by="invitation")
        return await self._sessions.pair(session, tenant)

    async def _register(self, tx: Tx, taken: Invitation, name: str | None) -> User:
        moment = self._clock.now()
        newcomer = Newcomer(email=taken.email, name=name)
        user = await tx.users.register(taken.tenant_id, newcomer, moment, may_own=False, role=taken.role)
        if user is None:  # came by another way meanwhile: the account's own ways to sign in are asked
            raise AlreadyMember
        await tx.users.record_login(taken.tenant_id, user.id, moment)
        joined = Caller(taken.tenant_id, "user", user.id, role=user.role.value)
        tx.outbox.add(entry(joined, "invitation.accept", taken.id))
        tx.outbox.add(UserRegistered(tenant_id=taken.tenant_id, user_id=user.id, role=user.role.value))
        return user

    async def _send(
        self,
        caller: Caller,
        act: str,
        wanted: Invitation,
        keep: Callable[[Tx, bytes], Awaitable[Invitation]],
        settle: Settle[Invitation],
    ) -> Invitation:
        async with self._uow(caller.tenant_id) as tx:
            await self._judge(tx, caller, wanted)
        is_mailed = await self._count(wanted)
        token = new_token(wanted.tenant_id)
        async with self._uow(caller.tenant_id) as tx:
            await self._judge(tx, caller, wanted)
            tenant = await tx.tenants.find_by_id(wanted.tenant_id)
            invitation = await keep(tx, hash_token(token))
            tx.outbox.add(entry(caller, act, invitation.id, detail=invitation.role.value))
            await settle(tx, invitation)
        logger.info(
            "invitation.sent", tenant_id=invitation.tenant_id, invitation_id=str(invitation.id), role=invitation.role
        )
        name = "" if tenant is None else tenant.name
        if not is_mailed:
            logger.warning("invitation.unmailed", tenant_id=invitation.tenant_id, invitation_id=str(invitation.id))
            return invitation
        await self._hand_over(
            InvitationMail(invitation.tenant_id, name, invitation.email, token, invitation.expires_at)
        )
        return invitation

    async def _judge(self, tx: Tx, caller: Caller, wanted: Invitation) -> None:
        await require_still(tx, caller, "users.manage")
        if wanted.role is Role.OWNER and not await owns(tx, caller):
            raise OwnersOnly
        require_person(caller, wanted.role)
        if not await tx.users.has_proven_manager(wanted.tenant_id):  # whoever founds a tenant is nobody yet
            raise AddressUnproven
        if await tx.users.find_by_email(wanted.tenant_id, wanted.email) is not None:
            raise AlreadyMember

    async def _count(self, wanted: Invitation) -> bool:
        """Whether the address may get another mail; nobody learns what others send it. Raises TooManyAttempts."""
        subject = self._pseudonyms.of_email(wanted.email)
        limits = [Limit("invite-tenant", str(wanted.tenant_id), rate) for rate in self._policy.per_tenant]
        limits += [Limit("invite-pair", f"{wanted.tenant_id}:{subject}", rate) for rate in self._policy.per_email]
        await self._limiter.require(*limits, error=TooManyAttempts)
        shared = [
            Limit("invite-email", subject, Rate(rate.amount * _SHARES, rate.window), of=subject)
            for rate in self._policy.per_email
        ]
        decision = await self._limiter.hit(*shared)
        return decision is None or decision.allowed


def _inviter(caller: Caller) -> UUID:
    """With whose rights an invitation ends: a person's key invites for the person, a key of the tenant for itself."""
    return caller.maker_id or caller.subject_id
