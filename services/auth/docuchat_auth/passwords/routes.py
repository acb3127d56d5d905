"""HTTP: set, change and reset a password."""

from typing import Annotated

from fastapi import APIRouter

from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.schemas import CodeRequestBody, CodeSent
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.http import ClientAddress
from docuchat_auth.mail import MailBacklog
from docuchat_auth.passwords.errors import PasswordsBusy, PasswordTooWeak, WrongPassword
from docuchat_auth.passwords.schemas import PasswordChange, PasswordReset
from docuchat_auth.passwords.service import Passwords
from docuchat_auth.tenants.errors import ChooseTenant
from docuchat_auth.tenants.routes import TENANT_PARAMETER, PersonsTenant
from docuchat_auth.users.errors import UserGone
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import public, requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.http.sign_ins import RecentSignInRequired

router = APIRouter(route_class=JsonRoute)


Service = Annotated[Passwords, provided("passwords")]


@router.put(
    "/v1/users/me/password",
    summary="Set or change the own password",
    status_code=204,
    operation_id="setPassword",
    tags=["users"],
)
@raises(UserGone, WrongPassword, RecentSignInRequired, TooManyAttempts, PasswordTooWeak, PasswordsBusy)
@audited("password.change")
async def set_password(
    body: PasswordChange, caller: Annotated[Caller, requires("account.use")], address: ClientAddress, passwords: Service
) -> None:
    """Who has a password shows it as `current`; who has none needs a sign-in of the last 15 minutes.

    All other sessions of the user end within seconds.
    """
    await passwords.change(caller, body.current, body.new, address)


@router.post(
    "/v1/auth/password/forgot",
    summary="Send a code with which a new password is set",
    status_code=202,
    openapi_extra=TENANT_PARAMETER,
    operation_id="forgotPassword",
    tags=["auth"],
)
@public
@raises(TooManyAttempts, MailBacklog)
async def forgot(body: CodeRequestBody, tenant: PersonsTenant, address: ClientAddress, passwords: Service) -> CodeSent:
    """The answer is the same for every address; a mail goes to those that have an account. As `request-code` else."""
    return CodeSent.of(await passwords.request_reset(tenant, body.address, address, body.challenge))


@router.post(
    "/v1/auth/password/reset",
    summary="Set a new password with a mailed code",
    status_code=204,
    openapi_extra=TENANT_PARAMETER,
    operation_id="resetPassword",
    tags=["auth"],
)
@public
@raises(TooManyAttempts, InvalidCode, ChooseTenant, PasswordTooWeak, PasswordsBusy, UserGone)
@audited("password.reset")
async def reset(body: PasswordReset, tenant: PersonsTenant, address: ClientAddress, passwords: Service) -> None:
    """Works once, and ends all sessions of the user. It signs nobody in: that is the next step, with a second factor
    where the account has one.
    """
    await passwords.reset(tenant, body.address, body.code.strip(), body.password, address, body.challenge)
