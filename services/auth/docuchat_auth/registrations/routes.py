"""HTTP: register, and prove an address."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from docuchat_auth.codes.domain import Challenge
from docuchat_auth.codes.errors import InvalidCode, MailBacklog, TooManyAttempts
from docuchat_auth.codes.schemas import CodeSent
from docuchat_auth.http import ClientAddress, NoStore
from docuchat_auth.passwords.errors import PasswordsBusy, PasswordTooWeak
from docuchat_auth.registrations.errors import AlreadyRegistered, NothingToVerify, SignUpClosed, UsernameTaken
from docuchat_auth.registrations.schemas import RegisterBody, RegisteredView, VerificationBody
from docuchat_auth.registrations.service import Registrations
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.tenants.routes import TENANT_PARAMETER, PersonsTenant
from docuchat_auth.users.errors import UserGone
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import public, requires
from docuchat_common.http.problems import raises

router = APIRouter(route_class=JsonRoute, tags=["auth"])


async def _registrations(request: Request) -> Registrations:
    found: Registrations = request.app.state.container.registrations
    return found


Service = Annotated[Registrations, Depends(_registrations)]
Self = Annotated[Caller, requires("account.use")]


@router.post(
    "/v1/auth/register",
    summary="Become a user, or found a tenant",
    status_code=201,
    responses={202: {"description": "Send the request again with the code that was mailed", "model": CodeSent}},
    openapi_extra=TENANT_PARAMETER,
    operation_id="register",
    dependencies=[NoStore],
)
@public
@raises(
    SignUpClosed, UsernameTaken, AlreadyRegistered, InvalidCode, MailBacklog, TooManyAttempts, PasswordTooWeak,
    PasswordsBusy, NoSigningKey,
)  # fmt: skip
@audited("user.register")
async def register(
    body: RegisterBody, tenant: PersonsTenant, address: ClientAddress, registrations: Service, response: Response
) -> RegisteredView | CodeSent:
    """With `organization`: founds a tenant whose owner is who asks, where the installation allows it.

    Without: joins the tenant that is named, as its sign-up has it. `invite`: 403. `domains`: a code is mailed (202),
    and the request sent again with it makes the user. `open`: the user is made at once and the address is proven later.
    The answer does not depend on whether the address has an account; who has proven it is told (409).
    """
    done = await registrations.register(tenant, body.application(), address)
    if isinstance(done, Challenge):
        response.status_code = 202
        return CodeSent.of(done)
    return RegisteredView.of_registration(done)


@router.post(
    "/v1/auth/verify-email",
    summary="Prove the address that one registered with",
    status_code=204,
    openapi_extra=TENANT_PARAMETER,
    operation_id="verifyEmail",
)
@raises(NothingToVerify, AlreadyRegistered, InvalidCode, TooManyAttempts, UserGone)
@audited("user.verify_email")
async def verify_email(body: VerificationBody, caller: Self, address: ClientAddress, registrations: Service) -> None:
    """Takes the code of the mail. The next access token names the address."""
    await registrations.verify(caller, body.code.strip(), body.challenge, address)


@router.post(
    "/v1/auth/verify-email/request",
    summary="Send another code to the address that one registered with",
    status_code=202,
    openapi_extra=TENANT_PARAMETER,
    operation_id="requestEmailVerification",
)
@raises(NothingToVerify, TooManyAttempts, MailBacklog, UserGone)
async def request_verification(caller: Self, address: ClientAddress, registrations: Service) -> CodeSent:
    """As after registering."""
    return CodeSent.of(await registrations.send_again(caller, address))
