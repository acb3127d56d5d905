"""HTTP: sign in by code."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from docuchat_auth.codes.schemas import CodeRequestBody, CodeSent, CodeVerifyBody
from docuchat_auth.codes.service import SignIn
from docuchat_auth.http import ClientAddress, NoStore
from docuchat_auth.sessions.schemas import Tokens
from docuchat_auth.tenants.routes import TENANT_PARAMETER, NamedTenant
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.problems import problem_responses

router = APIRouter(route_class=JsonRoute, tags=["auth"])


async def _sign_in(request: Request) -> SignIn:
    found: SignIn = request.app.state.container.sign_in
    return found


Service = Annotated[SignIn, Depends(_sign_in)]


@router.post(
    "/v1/auth/request-code",
    summary="Send a sign-in code to an e-mail address",
    status_code=202,
    responses=problem_responses(400, 404, 422, 429, 503),
    openapi_extra=TENANT_PARAMETER,
    operation_id="requestCode",
)
async def request_code(
    body: CodeRequestBody, tenant: NamedTenant, address: ClientAddress, sign_in: Service
) -> CodeSent:
    """Mails a six-digit code that is good for ten minutes, once, and for five guesses.

    A newer code replaces an older one. The answer is the same for addresses with and without an account.
    """
    lifetime = await sign_in.request_code(tenant, body.address, address)
    return CodeSent(expires_in=int(lifetime.total_seconds()))


@router.post(
    "/v1/auth/verify-code",
    summary="Exchange a sign-in code for tokens",
    responses=problem_responses(400, 401, 404, 422, 429, 503),
    openapi_extra=TENANT_PARAMETER,
    operation_id="verifyCode",
    dependencies=[NoStore],
)
async def verify_code(body: CodeVerifyBody, tenant: NamedTenant, address: ClientAddress, sign_in: Service) -> Tokens:
    """Signs in. Where sign-up is open, a new address becomes a member; the tenant's first user becomes its owner."""
    return Tokens.of(await sign_in.verify_code(tenant, body.address, body.code.strip(), address))
