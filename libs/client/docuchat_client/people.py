"""The people of a tenant: users, invitations, groups, and what they did. For admins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import BinaryIO
from uuid import UUID

from docuchat_client.calls import Calls
from docuchat_client.errors import NotFound
from docuchat_client.identity import (
    AuditEntry,
    ErasureReceipt,
    Group,
    Invitation,
    LinkedIdentities,
    LinkedIdentity,
    Member,
    Membership,
)
from docuchat_client.models import Page, Tokens


class People(Calls):
    """The part of a client that manages people."""

    # Users

    def users(self, *, role: str | None = None, active: bool | None = None) -> AsyncIterator[Member]:
        """Every user, in the order in which they joined."""
        is_active = None if active is None else str(active).lower()
        return self._every(Page[Member], "/v1/users", role=role, active=is_active)

    async def find_user(self, reference: UUID | str) -> Member:
        """The user of this address, user name or id. Raises NotFound."""
        named = str(reference).strip()
        wanted = {"email": named} if "@" in named else {}
        async for user in self._every(Page[Member], "/v1/users", **wanted):
            if wanted or named.lower() in (str(user.id), user.username):
                return user
        raise NotFound(f"There is no user {named!r}; `docuchat users list` shows them.", code="user_not_found")

    async def change_user(self, user_id: UUID | str, *, role: str | None = None, active: bool | None = None) -> Member:
        """Give a user another role, or shut out or let in again; it is felt within seconds."""
        given = {"role": role, "active": active}
        body = {name: value for name, value in given.items() if value is not None}
        return await self._get(Member, "PATCH", f"/v1/users/{user_id}", json=body, repeatable=True)

    async def remove_user(self, user_id: UUID | str, *, hand_over_to: UUID | str | None = None) -> None:
        """Remove a user; what is theirs goes to `hand_over_to`, or is deleted."""
        params = {"hand_over_to": None if hand_over_to is None else str(hand_over_to)}
        await self._transport.request("DELETE", f"/v1/users/{user_id}", params=params, repeatable=False)

    async def erase_user(
        self, user_id: UUID | str, *, hand_over_to: UUID | str | None = None, idempotency_key: str | None = None
    ) -> ErasureReceipt:
        """Remove a user, with whatever else is kept of the person; the receipt as far as it goes."""
        heir = "" if hand_over_to is None else f"?hand_over_to={hand_over_to}"
        return await self._create(ErasureReceipt, f"/v1/users/{user_id}/erase{heir}", None, idempotency_key)

    async def erasure_receipt(self, user_id: UUID | str) -> ErasureReceipt:
        """What became of an erased person."""
        return await self._get(ErasureReceipt, "GET", f"/v1/users/{user_id}/receipt")

    async def reset_second_factor(self, user_id: UUID | str) -> None:
        """Take somebody's second factors away, who has lost them; all sessions of that user end."""
        await self._transport.request("DELETE", f"/v1/users/{user_id}/second-factor")

    async def identities(self, user_id: UUID | str) -> list[LinkedIdentity]:
        """By which identity providers somebody signs in."""
        return (await self._get(LinkedIdentities, "GET", f"/v1/users/{user_id}/identities")).items

    async def cut_identity(self, user_id: UUID | str, provider_id: UUID | str) -> None:
        """Cut somebody's link to an identity provider; all sessions of that user end."""
        await self._transport.request("DELETE", f"/v1/users/{user_id}/identities/{provider_id}")

    # Invitations

    async def invite(self, email: str, role: str = "member", *, idempotency_key: str | None = None) -> Invitation:
        """Mail an invitation; another one of the same address takes its place."""
        return await self._create(Invitation, "/v1/invitations", {"email": email, "role": role}, idempotency_key)

    def invitations(self) -> AsyncIterator[Invitation]:
        """Every invitation that nobody has accepted or revoked."""
        return self._every(Page[Invitation], "/v1/invitations")

    async def find_invitation(self, reference: UUID | str) -> Invitation:
        """The invitation of this address or id. Raises NotFound."""
        named = str(reference).strip().lower()
        async for invitation in self.invitations():
            if named in (str(invitation.id), invitation.email):
                return invitation
        message = f"There is no invitation of {named!r}; `docuchat invitations list` shows them."
        raise NotFound(message, code="invitation_not_found")

    async def resend_invitation(self, invitation_id: UUID | str) -> Invitation:
        """Mail it again; the older mail is void, and its time begins anew."""
        return await self._get(Invitation, "POST", f"/v1/invitations/{invitation_id}/resend")

    async def revoke_invitation(self, invitation_id: UUID | str) -> None:
        """Nobody can accept it from then on."""
        await self._transport.request("DELETE", f"/v1/invitations/{invitation_id}")

    async def accept_invitation(self, token: str, *, name: str | None = None, password: str | None = None) -> Tokens:
        """Become a user with what was mailed, and be signed in. Without a password one signs in by codes."""
        body = (
            {"token": token.strip()} | ({"name": name} if name else {}) | ({"password": password} if password else {})
        )
        tokens = await self._get(Tokens, "POST", "/v1/invitations/accept", json=body, signed=False)
        self._transport.tenant = None  # the tokens say which
        self._transport.sign_in(None, tokens.access_token, tokens.refresh_token)
        return tokens

    # Groups

    def groups(self) -> AsyncIterator[Group]:
        """Every group."""
        return self._every(Page[Group], "/v1/groups")

    async def group(self, group_id: UUID | str) -> Group:
        """One group."""
        return await self._get(Group, "GET", f"/v1/groups/{group_id}")

    async def find_group(self, reference: UUID | str) -> Group:
        """The group of this name or id. Raises NotFound."""
        named = str(reference).strip().casefold()
        async for group in self.groups():
            if named in (str(group.id), group.name.casefold()):
                return group
        raise NotFound(f"There is no group {reference!r}; `docuchat groups list` shows them.", code="group_not_found")

    async def create_group(self, name: str, *, idempotency_key: str | None = None) -> Group:
        """A group without members."""
        return await self._create(Group, "/v1/groups", {"name": name}, idempotency_key)

    async def rename_group(self, group_id: UUID | str, name: str) -> Group:
        """Give a group another name."""
        return await self._get(Group, "PATCH", f"/v1/groups/{group_id}", json={"name": name}, repeatable=True)

    async def delete_group(self, group_id: UUID | str) -> None:
        """Delete a group; its members lose what it gave them."""
        await self._transport.request("DELETE", f"/v1/groups/{group_id}")

    def group_members(self, group_id: UUID | str) -> AsyncIterator[Membership]:
        """Everybody in a group."""
        return self._every(Page[Membership], f"/v1/groups/{group_id}/members")

    async def add_group_member(self, group_id: UUID | str, user_id: UUID | str) -> None:
        """Put a user into a group."""
        await self._transport.request("PUT", f"/v1/groups/{group_id}/members/{user_id}")

    async def remove_group_member(self, group_id: UUID | str, user_id: UUID | str) -> None:
        """Take a user out of a group."""
        await self._transport.request("DELETE", f"/v1/groups/{group_id}/members/{user_id}")

    # The audit log

    async def audit(
        self, wanted: Mapping[str, str] | None = None, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[AuditEntry]:
        """One page of the audit log, the latest first; `wanted` as `audit_filter` makes it."""
        params = {"limit": limit, "cursor": cursor, **(wanted or {})}
        return await self._get(Page[AuditEntry], "GET", "/v1/audit", params=params)

    async def audit_csv(self, target: BinaryIO, wanted: Mapping[str, str] | None = None) -> int:
        """Write all of the audit log as CSV; returns its bytes. `wanted` as `audit_filter` makes it."""
        done = 0
        headers = {"Accept": "text/csv"}
        async with self._transport.stream("GET", "/v1/audit", params=wanted, headers=headers) as response:
            async for piece in response.aiter_bytes():
                await asyncio.to_thread(target.write, piece)
                done += len(piece)
        return done


def audit_filter(
    *,
    actor: UUID | str | None = None,
    action: str | None = None,
    about: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> dict[str, str]:
    """What of the log is wanted: of an actor's id, of an action, `about` a type or `type:id`, in a span of time."""
    wanted = {
        "actor": None if actor is None else str(actor),
        "action": action,
        "object": about,
        "from": None if since is None else since.astimezone().isoformat(),
        "to": None if until is None else until.astimezone().isoformat(),
    }
    return {name: value for name, value in wanted.items() if value is not None}
