"""HTTP: invitations."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Response

from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.http import ClientAddress, NoStore
from docuchat_auth.invitations.errors import AddressUnproven, AlreadyMember, InvalidInvitation, InvitationNotFound
from docuchat_auth.invitations.schemas import AcceptanceBody, InvitationBody, InvitationView
from docuchat_auth.invitations.service import Invitations
from docuchat_auth.mail import MailBacklog
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.passwords.errors import PasswordsBusy, PasswordTooWeak
from docuchat_auth.sessions.schemas import Tokens
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.users.domain import Email
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging
from docuchat_common.http.permissions import public, requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS

router = APIRouter(tags=["users"], route_class=JsonRoute, prefix="/v1/invitations")


Service = Annotated[Invitations, provided("invitations")]
Admin = Annotated[Caller, requires("users.manage")]


@router.post("", summary="Invite somebody", status_code=201, response_model=InvitationView, operation_id="invite")
@audited("invitation.create")
@raises(OwnersOnly, AddressUnproven, AlreadyMember, TooManyAttempts, MailBacklog, *IDEMPOTENCY_ERRORS)
async def invite(body: InvitationBody, caller: Admin, invitations: Service, creating: CurrentCreation) -> Response:
    """Mails a link and a code. Inviting an address again takes the place of the older invitation.

    Only an owner invites owners, and nobody invites before somebody who manages the tenant has proven an address. With
    `mail_backlog` the invitation is there and its mail is not: send it again.
    """
    return await creating.once(
        caller,
        body,
        lambda settle: invitations.invite(caller, Email(body.email), body.role, settle),
        lambda invitation: created(InvitationView.of(invitation)),
        about=lambda invitation: invitation.id,
    )


@router.get("", summary="List invitations", operation_id="listInvitations")
async def list_invitations(caller: Admin, invitations: Service, paging: Paging) -> Page[InvitationView]:
    """Those that nobody has accepted or revoked, also when they have expired."""
    found = await invitations.list_after(caller.tenant_id, paging.after(1, UUID), paging.rows)
    return paging.page(found, InvitationView.of, lambda invitation: (invitation.id,))


@router.post(
    "/accept", summary="Accept an invitation", operation_id="acceptInvitation", dependencies=[NoStore], tags=["auth"]
)
@public
@audited("invitation.accept")
@raises(InvalidInvitation, AlreadyMember, TooManyAttempts, PasswordTooWeak, PasswordsBusy, NoSigningKey)
async def accept(body: AcceptanceBody, address: ClientAddress, invitations: Service) -> Tokens:
    """Makes a user with a proven address, and signs in. Works once."""
    return Tokens.of(await invitations.accept(body.token.strip(), body.name, body.password, address))


@router.post("/{invitation_id}/resend", summary="Send an invitation again", operation_id="resendInvitation")
@audited("invitation.resend")
@raises(InvitationNotFound, OwnersOnly, AddressUnproven, AlreadyMember, TooManyAttempts, MailBacklog)
async def resend(invitation_id: UUID, caller: Admin, invitations: Service) -> InvitationView:
    """The older mail is void, and the time begins anew."""
    return InvitationView.of(await invitations.resend(caller, invitation_id))


@router.delete("/{invitation_id}", summary="Revoke an invitation", status_code=204, operation_id="revokeInvitation")
@audited("invitation.revoke")
@raises(InvitationNotFound)
async def revoke(invitation_id: UUID, caller: Admin, invitations: Service) -> None:
    """Nobody can accept it from then on."""
    await invitations.revoke(caller, invitation_id)
