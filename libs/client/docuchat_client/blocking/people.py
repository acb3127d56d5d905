"""Written by scripts/write_blocking.py from people.py: `make openapi` writes it again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import BinaryIO
from uuid import UUID

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.blocking.runtime import Blocking
from docuchat_client.identity import AuditEntry, ErasureReceipt, Group, Invitation, LinkedIdentity, Member, Membership
from docuchat_client.models import Page, Tokens


class BlockingPeople(Blocking):
    """The part of a client that manages people."""

    _client: AsyncDocuChat

    def users(self, *, role: str | None = None, active: bool | None = None) -> Iterator[Member]:
        """Every user, in the order in which they joined."""
        return self._loop.iterate(self._client.users(role=role, active=active))

    def find_user(self, reference: UUID | str) -> Member:
        """The user of this address, user name or id. Raises NotFound."""
        return self._loop.run(self._client.find_user(reference))

    def change_user(self, user_id: UUID | str, *, role: str | None = None, active: bool | None = None) -> Member:
        """Give a user another role, or shut out or let in again; it is felt within seconds."""
        return self._loop.run(self._client.change_user(user_id, role=role, active=active))

    def remove_user(self, user_id: UUID | str, *, hand_over_to: UUID | str | None = None) -> None:
        """Remove a user; what is theirs goes to `hand_over_to`, or is deleted."""
        self._loop.run(self._client.remove_user(user_id, hand_over_to=hand_over_to))

    def erase_user(
        self, user_id: UUID | str, *, hand_over_to: UUID | str | None = None, idempotency_key: str | None = None
    ) -> ErasureReceipt:
        """Remove a user, with whatever else is kept of the person; the receipt as far as it goes."""
        return self._loop.run(
            self._client.erase_user(user_id, hand_over_to=hand_over_to, idempotency_key=idempotency_key)
        )

    def erasure_receipt(self, user_id: UUID | str) -> ErasureReceipt:
        """What became of an erased person."""
        return self._loop.run(self._client.erasure_receipt(user_id))

    def reset_second_factor(self, user_id: UUID | str) -> None:
        """Take somebody's second factors away, who has lost them; all sessions of that user end."""
        self._loop.run(self._client.reset_second_factor(user_id))

    def identities(self, user_id: UUID | str) -> list[LinkedIdentity]:
        """By which identity providers somebody signs in."""
        return self._loop.run(self._client.identities(user_id))

    def cut_identity(self, user_id: UUID | str, provider_id: UUID | str) -> None:
        """Cut somebody's link to an identity provider; all sessions of that user end."""
        self._loop.run(self._client.cut_identity(user_id, provider_id))

    def invite(self, email: str, role: str = "member", *, idempotency_key: str | None = None) -> Invitation:
        """Mail an invitation; another one of the same address takes its place."""
        return self._loop.run(self._client.invite(email, role, idempotency_key=idempotency_key))

    def invitations(self) -> Iterator[Invitation]:
        """Every invitation that nobody has accepted or revoked."""
        return self._loop.iterate(self._client.invitations())

    def find_invitation(self, reference: UUID | str) -> Invitation:
        """The invitation of this address or id. Raises NotFound."""
        return self._loop.run(self._client.find_invitation(reference))

    def resend_invitation(self, invitation_id: UUID | str) -> Invitation:
        """Mail it again; the older mail is void, and its time begins anew."""
        return self._loop.run(self._client.resend_invitation(invitation_id))

    def revoke_invitation(self, invitation_id: UUID | str) -> None:
        """Nobody can accept it from then on."""
        self._loop.run(self._client.revoke_invitation(invitation_id))

    def accept_invitation(self, token: str, *, name: str | None = None, password: str | None = None) -> Tokens:
        """Become a user with what was mailed, and be signed in. Without a password one signs in by codes."""
        return self._loop.run(self._client.accept_invitation(token, name=name, password=password))

    def groups(self) -> Iterator[Group]:
        """Every group."""
        return self._loop.iterate(self._client.groups())

    def group(self, group_id: UUID | str) -> Group:
        """One group."""
        return self._loop.run(self._client.group(group_id))

    def find_group(self, reference: UUID | str) -> Group:
        """The group of this name or id. Raises NotFound."""
        return self._loop.run(self._client.find_group(reference))

    def create_group(self, name: str, *, idempotency_key: str | None = None) -> Group:
        """A group without members."""
        return self._loop.run(self._client.create_group(name, idempotency_key=idempotency_key))

    def rename_group(self, group_id: UUID | str, name: str) -> Group:
        """Give a group another name."""
        return self._loop.run(self._client.rename_group(group_id, name))

    def delete_group(self, group_id: UUID | str) -> None:
        """Delete a group; its members lose what it gave them."""
        self._loop.run(self._client.delete_group(group_id))

    def group_members(self, group_id: UUID | str) -> Iterator[Membership]:
        """Everybody in a group."""
        return self._loop.iterate(self._client.group_members(group_id))

    def add_group_member(self, group_id: UUID | str, user_id: UUID | str) -> None:
        """Put a user into a group."""
        self._loop.run(self._client.add_group_member(group_id, user_id))

    def remove_group_member(self, group_id: UUID | str, user_id: UUID | str) -> None:
        """Take a user out of a group."""
        self._loop.run(self._client.remove_group_member(group_id, user_id))

    def audit(
        self, wanted: Mapping[str, str] | None = None, *, limit: int | None = None, cursor: str | None = None
    ) -> Page[AuditEntry]:
        """One page of the audit log, the latest first; `wanted` as `audit_filter` makes it."""
        return self._loop.run(self._client.audit(wanted, limit=limit, cursor=cursor))

    def audit_csv(self, target: BinaryIO, wanted: Mapping[str, str] | None = None) -> int:
        """Write all of the audit log as CSV; returns its bytes. `wanted` as `audit_filter` makes it."""
        return self._loop.run(self._client.audit_csv(target, wanted))
