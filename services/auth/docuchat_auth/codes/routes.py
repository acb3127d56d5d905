"""HTTP: sign in by code."""

from typing import Annotated

from fastapi import APIRouter

from docuchat_auth.codes.errors import InvalidCode
from docuchat_auth.codes.schemas import CodeRequestBody, CodeSent, CodeVerifyBody
from docuchat_auth.codes.service import SignIn
from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.http import ClientAddress, NoStore
from docuchat_auth.mail import MailBacklog
from docuchat_auth.sessions.errors import OtpInvalid, OtpRequired
from docuchat_auth.sessions.schemas import Tokens
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.tenants.errors import ChooseTenant
from docuchat_auth.tenants.routes import TENANT_PARAMETER, PersonsTenant
from docuchat_auth.users.errors import UserGone
from docuchat_common.audit import audited
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided

router = APIRouter(route_class=JsonRoute, tags=["auth"])


Service = Annotated[SignIn, provided("sign_in")]


@router.post(
    "/v1/auth/request-code",
    summary="Send a sign-in code to an e-mail address",
    status_code=202,
    openapi_extra=TENANT_PARAMETER,
    operation_id="requestCode",
)
@public
@raises(TooManyAttempts, MailBacklog)
async def request_code(
    body: CodeRequestBody, tenant: PersonsTenant, address: ClientAddress, sign_in: Service
) -> CodeSent:
    """Mails a six-digit code that is good for ten minutes and once.

    The answer is the same for every tenant and address, whether it exists or not. Keep its `challenge` and send it with
    the code: guesses with it have a budget of their own (3 a code), which strangers who know the address cannot use up;
    those without share what is left (2 a code, and only at the newest code). After a sign-in the challenge stands for
    this browser: sent with the next request for a code, it gives that a budget of its own as well.
    """
    return CodeSent.of(await sign_in.request_code(tenant, body.address, address, body.challenge))


@router.post(
    "/v1/auth/verify-code",
    summary="Exchange a sign-in code for tokens",
    openapi_extra=TENANT_PARAMETER,
    operation_id="verifyCode",
    dependencies=[NoStore],
)
@public
@raises(TooManyAttempts, InvalidCode, OtpRequired, OtpInvalid, ChooseTenant, UserGone, NoSigningKey)
@audited("session.start")
async def verify_code(body: CodeVerifyBody, tenant: PersonsTenant, address: ClientAddress, sign_in: Service) -> Tokens:
    """Signs in. Where the tenant admits it, a new address becomes a member.

    A person who asked without naming a tenant and is in several is told them (409 `choose_tenant`) and repeats the
    request with the one that is meant. Where the account has a second factor its code goes along as `otp`; without it
    (401 `otp_required`) or with a wrong one (`otp_invalid`) the mailed code stays good.
    """
    pair = await sign_in.verify_code(tenant, body.address, body.code.strip(), address, body.challenge, body.otp)
    return Tokens.of(pair)
