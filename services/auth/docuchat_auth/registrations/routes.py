"""HTTP: register, and prove an address."""

from dataclasses import replace
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Response

from docuchat_auth.codes.domain import Challenge
from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.schemas import CodeSent
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.http import ClientAddress
from docuchat_auth.mail import MailBacklog
from docuchat_auth.passwords.errors import PasswordsBusy, PasswordTooWeak
from docuchat_auth.registrations.domain import Registered
from docuchat_auth.registrations.errors import AlreadyRegistered, NothingToVerify, SignUpClosed, UsernameTaken
from docuchat_auth.registrations.schemas import RegisterBody, RegisteredView, VerificationBody
from docuchat_auth.registrations.service import Registrations
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.tenants.routes import TENANT_PARAMETER, PersonsTenant
from docuchat_auth.users.errors import UserGone
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.idempotency import CurrentCreation, created
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import public, requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.idempotency import IDEMPOTENCY_ERRORS, StoredResponse
from docuchat_common.sealing import SealedAnswers

router = APIRouter(route_class=JsonRoute, tags=["auth"])
NOBODY: Final = UUID(int=0)
"""Of whom an answer tells that made nobody, and is therefore not kept."""


Service = Annotated[Registrations, provided("registrations")]
Sealed = Annotated[SealedAnswers, provided("sealed_answers")]
Self = Annotated[Caller, requires("account.use")]


@router.post(
    "/v1/auth/register",
    summary="Become a user, or found a tenant",
    status_code=201,
    responses={202: {"description": "Send the request again with the code that was mailed", "model": CodeSent}},
    openapi_extra=TENANT_PARAMETER,
    operation_id="register",
    response_model=RegisteredView,
)
@public
@raises(
    SignUpClosed, UsernameTaken, AlreadyRegistered, InvalidCode, MailBacklog, TooManyAttempts, PasswordTooWeak,
    PasswordsBusy, NoSigningKey, *IDEMPOTENCY_ERRORS,
)  # fmt: skip
@audited("user.register")
async def register(
    body: RegisterBody,
    tenant: PersonsTenant,
    address: ClientAddress,
    registrations: Service,
    seal: Sealed,
    creating: CurrentCreation,
) -> Response:
    """With `organization`: founds a tenant whose owner is who asks, where the installation allows it.

    Without: joins the tenant that is named, as its sign-up has it. `invite`: 403. `domains`: a code is mailed (202),
    and the request sent again with it makes the user. `open`: the user is made at once and the address is proven later.
    The answer does not depend on whether the address has an account; who has proven it is told (409). With an
    `Idempotency-Key` who was made is made once; that a code was mailed (202) settles nothing.
    """
    application = body.application()
    home = await registrations.home_of(tenant, application)
    return await creating.once(
        Caller(home, "visitor", seal.name_of(application.email or "", application.username or "")),
        body.told_apart(seal.name_of),
        lambda settle: registrations.register(tenant, application, address, settle),
        _present,
        about=_about,
        seal=seal,
    )


def _present(done: Registered | Challenge) -> StoredResponse:
    if isinstance(done, Challenge):
        answer = created(CodeSent.of(done), 202)
    else:
        answer = created(RegisteredView.of_registration(done))
    return replace(answer, headers={"Cache-Control": "no-store"})


def _about(done: Registered | Challenge) -> UUID:
    return NOBODY if isinstance(done, Challenge) else done.entry.user.id


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
