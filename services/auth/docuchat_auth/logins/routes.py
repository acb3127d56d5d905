"""HTTP: sign in by password."""

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final
from urllib.parse import unquote_plus

import orjson
from fastapi import APIRouter, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.http import ClientAddress, NoStore
from docuchat_auth.logins.schemas import LoginBody, SignedInTokens, TokenBody
from docuchat_auth.logins.service import PasswordSignIn
from docuchat_auth.passwords.errors import InvalidCredentials, PasswordsBusy
from docuchat_auth.sessions.errors import OtpInvalid, OtpRequired
from docuchat_auth.signing_keys.errors import NoSigningKey
from docuchat_auth.tenants.errors import ChooseTenant
from docuchat_auth.tenants.routes import TENANT_PARAMETER, PersonsTenant
from docuchat_auth.tenants.service import TenantDirectory
from docuchat_auth.users.errors import UserGone
from docuchat_common.audit import audited
from docuchat_common.errors import DocuChatError, InvalidInput, PayloadTooLarge, UpstreamUnavailable
from docuchat_common.http.caller import NO_TENANT
from docuchat_common.http.json_body import SHORT_BODY, JsonRoute, read_bounded
from docuchat_common.http.permissions import public
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import TenantId

router = APIRouter(route_class=JsonRoute, tags=["auth"])

FORM: Final = "application/x-www-form-urlencoded"
_REFUSALS: Final = (
    InvalidCredentials,
    OtpRequired,
    OtpInvalid,
    ChooseTenant,
    TooManyAttempts,
    PasswordsBusy,
    UserGone,
    NoSigningKey,
)
_TOKEN_BODY: Final[dict[str, Any]] = {
    **TENANT_PARAMETER,
    "requestBody": {
        "required": True,
        "content": {kind: {"schema": TokenBody.model_json_schema()} for kind in (FORM, "application/json")},
    },
}


Service = Annotated[PasswordSignIn, provided("password_sign_in")]
Tenants = Annotated[TenantDirectory, provided("tenants")]


@router.post(
    "/v1/auth/login",
    summary="Sign in by password",
    openapi_extra=TENANT_PARAMETER,
    operation_id="login",
    dependencies=[NoStore],
)
@public
@raises(*_REFUSALS)
@audited("session.start")
async def login(
    body: LoginBody, tenant: PersonsTenant, address: ClientAddress, sign_in: Service, tenants: Tenants
) -> SignedInTokens:
    """By address or user name. What is wrong is not said, nor whether there is such an account.

    Who is in several tenants and names none is told them once the password was right (409 `choose_tenant`). Failures
    are counted, successes are not; a device that sends its `device` has a budget of failures of its own.
    """
    named = await _named(tenants, body.tenant, tenant)
    return SignedInTokens.of_sign_in(await sign_in.sign_in(body.attempt(named, address)))


@router.post(
    "/v1/auth/token",
    summary="Sign in by password, as OAuth 2 has it",
    openapi_extra=_TOKEN_BODY,
    operation_id="createToken",
    dependencies=[NoStore],
)
@public
@raises(*_REFUSALS, PayloadTooLarge, InvalidInput)
@audited("session.start")
async def token(
    request: Request, tenant: PersonsTenant, address: ClientAddress, sign_in: Service, tenants: Tenants
) -> SignedInTokens:
    """The same as `login` for clients of OAuth 2, with the password grant (RFC 6749 §4.3): a form, or JSON.

    `client_id` and `client_secret` may come as `Authorization: Basic`. Refusals have `error` and `error_description`.
    """
    with _told_as_oauth():
        body = await _read(request)
        named = await _named(tenants, body.tenant, tenant)
        if body.tenant is None and body.client_id and (found := await tenants.find_by_reference(body.client_id)):
            named = found.id
        return SignedInTokens.of_sign_in(await sign_in.sign_in(body.attempt(named, address)))


@contextmanager
def _told_as_oauth() -> Iterator[None]:
    """Refusals with what RFC 6749 §5.2 has besides ours: its clients show that, and nothing else."""
    try:
        yield
    except DocuChatError as error:
        kind = "invalid_grant"
        if isinstance(error, InvalidInput | PayloadTooLarge):
            kind = "invalid_request"
        elif error.retry_after is not None or isinstance(error, UpstreamUnavailable):
            kind = "temporarily_unavailable"
        error.extensions = {"error": kind, "error_description": error.detail, **error.extensions}
        raise


async def _named(tenants: TenantDirectory, reference: str | None, otherwise: TenantId) -> TenantId:
    if reference is None:
        return otherwise
    found = await tenants.find_by_reference(reference)
    return NO_TENANT if found is None else found.id


async def _read(request: Request) -> TokenBody:
    body = await read_bounded(request, SHORT_BODY) or b""
    is_form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM
    try:
        fields = TokenBody.fields_of_form(body) if is_form else orjson.loads(body)
        return TokenBody.model_validate({**_client_of(request), **fields} if isinstance(fields, dict) else fields)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None
    except ValueError as error:
        raise InvalidInput("The body is neither a form nor JSON.") from error


def _client_of(request: Request) -> dict[str, str]:
    """The client where it comes as `Basic` (RFC 6749 §2.3.1), as pages of documentation send it."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return {}
    try:
        name, _, secret = b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        return {}
    given = {"client_id": unquote_plus(name), "client_secret": unquote_plus(secret)}
    return {field: value for field, value in given.items() if value}
