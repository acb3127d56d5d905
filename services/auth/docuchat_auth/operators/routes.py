"""HTTP: what operators do with tenants and signing keys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response

from docuchat_auth.domains.errors import DomainNotFound
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.http import ClientAddress, NoStore
from docuchat_auth.members.errors import LastOwner
from docuchat_auth.members.schemas import MemberChangeBody
from docuchat_auth.members.service import Members
from docuchat_auth.operators.errors import InvalidOperatorKey
from docuchat_auth.operators.schemas import (
    KeyRotation,
    NewTenant,
    OperatedTenant,
    OperatorKeyBody,
    OperatorTokenView,
    RotatedKey,
    SignInResetBody,
    TenantChange,
)
from docuchat_auth.operators.service import DomainRelease, Operators, SignInReset, TenantFounding
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.signing_keys.service import KeyRing
from docuchat_auth.tenants.domain import Tenant
from docuchat_auth.tenants.errors import InvalidSignUp, InvalidSlug, TenantNotFound, TenantTaken
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.users.domain import Email, UserFilter
from docuchat_auth.users.errors import UserNotFound
from docuchat_auth.users.schemas import Address, UserView
from docuchat_auth.users.service import UserDirectory
from docuchat_common.audit import audited
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.identity import CurrentOperator, current_operator
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.pages import Page, Paging, number
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS, StoredResponse
from docuchat_common.ids import UserId

door = APIRouter(route_class=JsonRoute, tags=["operators"], prefix="/v1/operator")
router = APIRouter(
    route_class=JsonRoute, tags=["operators"], prefix="/v1/operator", dependencies=[Depends(current_operator)]
)


@door.post(
    "/token",
    summary="Exchange an operator's credential for a token",
    operation_id="createOperatorToken",
    dependencies=[NoStore],
)
@public
@raises(TooManyAttempts, InvalidOperatorKey, NoSigningKey)
@audited("operator.sign_in")
async def create_token(
    body: OperatorKeyBody, address: ClientAddress, operators: Annotated[Operators, provided("operators")]
) -> OperatorTokenView:
    """A token of 15 minutes that opens `/v1/operator` and nothing of any tenant."""
    return OperatorTokenView.of(await operators.exchange(body.key, address))


@router.get(
    "/tenants",
    summary="List tenants",
    operation_id="listTenants",
)
async def list_tenants(
    tenants: Annotated[TenantDirectory, provided("tenants")], paging: Paging
) -> Page[OperatedTenant]:
    """Every tenant, by id."""
    after = paging.after(1, lambda text: number(text, below=1 << 31))
    found = await tenants.list_after(after or 0, paging.rows)
    return paging.page(found, OperatedTenant.of, lambda tenant: (tenant.id,))


@router.post(
    "/tenants",
    summary="Create a tenant with its first owner",
    status_code=201,
    response_model=OperatedTenant,
    responses={200: {"description": "It was there", "model": OperatedTenant}},
    operation_id="createTenant",
)
@raises(InvalidSlug, InvalidSignUp, TenantTaken, *IDEMPOTENCY_ERRORS)
@audited("tenant.create")
async def create_tenant(
    body: NewTenant,
    operator: CurrentOperator,
    founding: Annotated[TenantFounding, provided("founding")],
    creating: CurrentCreation,
) -> Response:
    """The same slug and owner again change nothing and answer 200. Nobody joins uninvited unless the body says so."""

    def present(outcome: tuple[Tenant, bool]) -> StoredResponse:
        tenant, is_new = outcome
        return created(OperatedTenant.of(tenant), 201 if is_new else 200)

    return await creating.once(
        operator,
        body,
        lambda settle: founding.create(
            body.slug, body.name, Email(body.owner), signup=body.rule(), by=operator, settle=settle
        ),
        present,
    )


@router.patch(
    "/tenants/{tenant}",
    summary="Change who may join a tenant uninvited; suspend and resume it",
    operation_id="changeTenant",
)
@raises(TenantNotFound, InvalidSignUp)
@audited("tenant.change")
async def change_tenant(
    tenant: str,
    operator: CurrentOperator,
    body: TenantChange,
    tenants: Annotated[TenantDirectory, provided("tenants")],
) -> OperatedTenant:
    """`tenant` is its number, its customer id or its slug.

    With `invite` nobody joins uninvited; with `domains` who proves an address of one of the domains; with `open`
    anybody. In a tenant that is suspended everything that is no GET is 403 `tenant_suspended`.
    """
    rule, found = body.rule(), await tenants.get_by_reference(tenant)
    changed = await tenants.change(found.id, signup=rule, is_suspended=body.suspended, by=operator)
    return OperatedTenant.of(changed)


@router.delete(
    "/tenants/{tenant}/domains/{domain_name}",
    summary="Take a domain of mail from a tenant",
    status_code=204,
    operation_id="releaseDomain",
)
@raises(TenantNotFound, DomainNotFound)
@audited("domain.release")
async def release_domain(
    tenant: str,
    domain_name: Annotated[str, Path(max_length=253, examples=["acme.example"])],
    operator: CurrentOperator,
    tenants: Annotated[TenantDirectory, provided("tenants")],
    domains: Annotated[DomainRelease, provided("domain_release")],
) -> None:
    """For one that has changed hands and is not given up: another tenant may prove it then.

    `tenant` is its number, its customer id or its slug. Its sign-up names the domain no more, either.
    """
    await domains.release(await tenants.get_by_reference(tenant), domain_name, operator)


@router.get(
    "/tenants/{tenant}/users",
    summary="List a tenant's users",
    operation_id="listUsers",
)
@raises(TenantNotFound)
async def list_users(
    tenant: str,
    tenants: Annotated[TenantDirectory, provided("tenants")],
    users: Annotated[UserDirectory, provided("users")],
    paging: Paging,
    email: Annotated[Address | None, Query(description="Only the user of this address.")] = None,
    user_id: Annotated[UUID | None, Query(description="Only the user of this id.")] = None,
) -> Page[UserView]:
    """Every user of a tenant, by id, or the one that is wanted. `tenant` is its number, customer id or slug."""
    wanted = UserFilter(None if email is None else Email(email), None if user_id is None else UserId(user_id))
    after = paging.after(1, lambda text: UserId(UUID(text)))
    found = await users.list_after((await tenants.get_by_reference(tenant)).id, after, wanted, paging.rows)
    return paging.page(found, UserView.of, lambda user: (user.id,))


@router.patch(
    "/tenants/{tenant}/users/{user}",
    summary="Give a user another role, or close or open the account",
    operation_id="changeUserOfTenant",
)
@raises(TenantNotFound, UserNotFound, LastOwner)
@audited("user.change")
async def change_user(
    tenant: str,
    user: UUID,
    operator: CurrentOperator,
    body: MemberChangeBody,
    tenants: Annotated[TenantDirectory, provided("tenants")],
    members: Annotated[Members, provided("members")],
) -> UserView:
    """Felt within seconds, also by open sockets."""
    tenant_id = (await tenants.get_by_reference(tenant)).id
    return UserView.of(await members.change(tenant_id, UserId(user), body.change(), operator))


@router.post(
    "/tenants/{tenant}/users/{user}/reset-sign-in",
    summary="End a user's sessions and forget failed guesses",
    status_code=204,
    operation_id="resetSignInOfUser",
)
@raises(TenantNotFound, UserNotFound)
@audited("user.reset_sign_in")
async def reset_sign_in(
    tenant: str,
    user: UUID,
    tenants: Annotated[TenantDirectory, provided("tenants")],
    sign_in: Annotated[SignInReset, provided("sign_in_reset")],
    body: SignInResetBody | None = None,
) -> None:
    """For who is locked out by others' guesses, and for who has lost a device: known devices are forgotten too.

    Second factors stay, unless the body says otherwise.
    """
    factors = body is not None and body.second_factors
    await sign_in.reset((await tenants.get_by_reference(tenant)).id, UserId(user), second_factors=factors)


@router.post(
    "/signing-keys/rotate",
    summary="Rotate the keys that sign tokens",
    operation_id="rotateSigningKeys",
)
@audited("signing_keys.rotate")
async def rotate_signing_keys(
    operator: CurrentOperator, keys: Annotated[KeyRing, provided("keys")], body: KeyRotation | None = None
) -> RotatedKey:
    """A new key is published at once and signs after a while; the older ones stay until their last token has ended."""
    return RotatedKey.of(await keys.rotate(revoke=body is not None and body.revoke, by=operator))
