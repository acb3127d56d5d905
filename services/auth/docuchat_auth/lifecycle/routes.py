"""HTTP: the caller's tenant, and the end of tenants."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from docuchat_auth.domains.errors import DomainNotProven
from docuchat_auth.lifecycle.errors import (
    ErasureBegun,
    OperatorsOpen,
    ReceiptNotFound,
    SlugMismatch,
)
from docuchat_auth.lifecycle.schemas import DeletionReceipt, TenantSettings, TenantSettingsChange
from docuchat_auth.lifecycle.service import Deletion, Settings
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.tenants.errors import InvalidSignUp, TenantNotFound
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.identity import CurrentOperator, current_operator
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.http.sign_ins import RecentSignInRequired

router = APIRouter(tags=["tenant"], route_class=JsonRoute, prefix="/v1/tenant")
operator = APIRouter(
    route_class=JsonRoute, tags=["operators"], prefix="/v1/operator/tenants", dependencies=[Depends(current_operator)]
)


Service = Annotated[Settings, provided("tenant_settings")]
Ending = Annotated[Deletion, provided("deletion")]
Directory = Annotated[TenantDirectory, provided("tenants")]
Owner = Annotated[Caller, requires("tenant.own")]
Confirmation = Annotated[
    str, Query(min_length=1, max_length=63, description="The slug of the tenant, so that none is deleted by mistake.")
]


@router.get("", summary="The own tenant", operation_id="getTenant")
@raises(TenantNotFound)
async def get_tenant(caller: Annotated[Caller, requires("tenant.read")], settings: Service) -> TenantSettings:
    """What everybody of the tenant may know of it."""
    return TenantSettings.of(await settings.get(caller))


@router.patch("", summary="Change the own tenant", operation_id="changeOwnTenant")
@raises(TenantNotFound, InvalidSignUp, OperatorsOpen, DomainNotProven, OwnersOnly, RecentSignInRequired)
@audited("tenant.change")
async def change_tenant(
    body: TenantSettingsChange, caller: Annotated[Caller, requires("tenant.manage")], settings: Service
) -> TenantSettings:
    """What is not given stays. Who has joined stays, too, whatever becomes of the rule by which it was.

    To demand no second factor any more needs a sign-in of the last 15 minutes. So does keeping things for less time,
    which is an owner's to say: it begins at `retention_changes_at`, and the owners are mailed.
    """
    return TenantSettings.of(await settings.change(caller, body.change()))


@router.delete("", summary="Delete the own tenant", status_code=202, operation_id="deleteOwnTenant")
@raises(TenantNotFound, OwnersOnly, RecentSignInRequired, SlugMismatch)
@audited("tenant.delete")
async def delete_own_tenant(caller: Owner, deletion: Ending, confirm: Confirmation) -> TenantSettings:
    """At `deletes_at` everything of it is erased for good. The owners are mailed at once, and a receipt then.

    Until then it can be read, and nothing else (`tenant_deleting`), and an owner or an operator can take it back.
    """
    return TenantSettings.of(await deletion.ask(caller.tenant_id, confirm, caller))


@router.post("/restore", summary="Take the deletion of the own tenant back", operation_id="restoreOwnTenant")
@raises(TenantNotFound, OwnersOnly, ErasureBegun)
@audited("tenant.restore")
async def restore_own_tenant(caller: Owner, deletion: Ending) -> TenantSettings:
    """Everything is as it was, within seconds."""
    return TenantSettings.of(await deletion.take_back(caller.tenant_id, caller))


@operator.delete("/{tenant}", summary="Delete a tenant", status_code=202, operation_id="deleteTenant")
@raises(TenantNotFound, SlugMismatch)
@audited("tenant.delete")
async def delete_tenant(
    tenant: str, by: CurrentOperator, deletion: Ending, tenants: Directory, confirm: Confirmation
) -> TenantSettings:
    """As its owner does: after the same time of grace."""
    return TenantSettings.of(await deletion.ask((await tenants.get_by_reference(tenant)).id, confirm, by))


@operator.post("/{tenant}/restore", summary="Take the deletion of a tenant back", operation_id="restoreTenant")
@raises(TenantNotFound, ErasureBegun)
@audited("tenant.restore")
async def restore_tenant(tenant: str, by: CurrentOperator, deletion: Ending, tenants: Directory) -> TenantSettings:
    """Until its erasure begins."""
    return TenantSettings.of(await deletion.take_back((await tenants.get_by_reference(tenant)).id, by))


@operator.get("/{tenant}/receipt", summary="What became of a deleted tenant", operation_id="getDeletionReceipt")
@raises(ReceiptNotFound)
async def get_receipt(tenant: str, deletion: Ending) -> DeletionReceipt:
    """By its number or customer id: what each service erased and keeps, without a name of anybody."""
    return DeletionReceipt.of(await deletion.get_receipt(tenant))
