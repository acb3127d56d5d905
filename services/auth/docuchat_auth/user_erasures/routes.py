"""HTTP: the erasure of one person."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from docuchat_auth.members.errors import InvalidHandOver, LastOwner, OwnersOnly
from docuchat_auth.user_erasures.errors import ErasureNotFound
from docuchat_auth.user_erasures.schemas import Erasure, ErasureReceipt
from docuchat_auth.user_erasures.service import UserErasures
from docuchat_auth.users.errors import UserNotFound
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS
from docuchat_common.ids import UserId

router = APIRouter(tags=["users"], route_class=JsonRoute, prefix="/v1/users")


Service = Annotated[UserErasures, provided("user_erasures")]
Admin = Annotated[Caller, requires("users.manage")]


@router.post(
    "/{user_id}/erase",
    summary="Erase a person",
    status_code=202,
    response_model=ErasureReceipt,
    operation_id="eraseMember",
)
@raises(UserNotFound, OwnersOnly, LastOwner, InvalidHandOver, *IDEMPOTENCY_ERRORS)
@audited("user.erase")
async def erase_member(
    user_id: UUID,
    caller: Admin,
    erasures: Service,
    creating: CurrentCreation,
    hand_over_to: Annotated[
        UUID | None, Query(description="The user who gets the erased one's documents; without it they are deleted.")
    ] = None,
) -> Response:
    """Removes the user by the rule of the removal, and whatever else is kept of the person.

    What must be kept, the ledger and the audit log, is kept without name and address. It is done within minutes; the
    receipt says what each service erased, and what it keeps for which reason.
    """
    heir = None if hand_over_to is None else UserId(hand_over_to)
    return await creating.once(
        caller,
        Erasure(hand_over_to=hand_over_to),
        lambda settle: erasures.erase(caller, UserId(user_id), heir, settle),
        lambda receipt: created(ErasureReceipt.of(receipt), 202),
    )


@router.get("/{user_id}/receipt", summary="What became of an erased person", operation_id="getErasureReceipt")
@raises(ErasureNotFound)
async def get_receipt(user_id: UUID, caller: Admin, erasures: Service) -> ErasureReceipt:
    """What each service erased and keeps, without a name of anybody."""
    return ErasureReceipt.of(await erasures.get_receipt(caller.tenant_id, UserId(user_id)))
