"""HTTP: passkeys."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from docuchat_auth.http import NoStore
from docuchat_auth.passkeys.errors import (
    InvalidPasskey,
    PasskeyNotFound,
    PasskeyRefused,
    PasskeyTaken,
    TooManyPasskeys,
)
from docuchat_auth.passkeys.schemas import NewPasskey, PasskeyList, PasskeyOptions, PasskeySignIn, PasskeyView
from docuchat_auth.passkeys.service import Passkeys
from docuchat_auth.sessions.schemas import Tokens
from docuchat_auth.signing_keys.errors import NoSigningKey
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
_OWN = "/v1/users/me/passkeys"


Service = Annotated[Passkeys, provided("passkeys")]
Self = Annotated[Caller, requires("account.use")]


@router.get(_OWN, summary="List one's passkeys", operation_id="listPasskeys", tags=["users"])
@raises(UserGone)
async def list_passkeys(caller: Self, passkeys: Service) -> PasskeyList:
    """The oldest first."""
    return PasskeyList(items=[PasskeyView.of(passkey) for passkey in await passkeys.list_own(caller)])


@router.post(
    f"{_OWN}/options",
    summary="Begin to register a passkey",
    operation_id="beginPasskey",
    tags=["users"],
    dependencies=[NoStore],
)
@raises(UserGone, RecentSignInRequired)
async def begin(caller: Self, passkeys: Service) -> PasskeyOptions:
    """What the page gives to `navigator.credentials.create`."""
    return PasskeyOptions(public_key=await passkeys.begin(caller))


@router.post(_OWN, summary="Register a passkey", status_code=201, operation_id="createPasskey", tags=["users"])
@raises(UserGone, RecentSignInRequired, PasskeyRefused, PasskeyTaken, TooManyPasskeys)
@audited("passkey.create")
async def create(body: NewPasskey, caller: Self, passkeys: Service) -> PasskeyView:
    """What the browser answered goes in as it is. Where the tenant demands a second factor, a passkey is one."""
    return PasskeyView.of(await passkeys.add(caller, body.name, body.credential.as_sent()))


@router.delete(
    f"{_OWN}/{{passkey_id}}", summary="Remove a passkey", status_code=204, operation_id="removePasskey", tags=["users"]
)
@raises(UserGone, RecentSignInRequired, PasskeyNotFound)
@audited("passkey.remove")
async def remove(passkey_id: UUID, caller: Self, passkeys: Service) -> None:
    """All other sessions end: whoever had the device has them no more."""
    await passkeys.remove(caller, passkey_id)


@router.post(
    "/v1/auth/passkeys/options",
    summary="Begin to sign in with a passkey",
    openapi_extra=TENANT_PARAMETER,
    operation_id="beginPasskeySignIn",
    tags=["auth"],
    dependencies=[NoStore],
)
@public
async def begin_sign_in(passkeys: Service) -> PasskeyOptions:
    """What the page gives to `navigator.credentials.get`. It is the same for everybody: no account is named."""
    return PasskeyOptions(public_key=passkeys.begin_sign_in())


@router.post(
    "/v1/auth/passkeys",
    summary="Sign in with a passkey",
    openapi_extra=TENANT_PARAMETER,
    operation_id="signInWithPasskey",
    tags=["auth"],
    dependencies=[NoStore],
)
@public
@raises(InvalidPasskey, NoSigningKey)
@audited("session.start")
async def sign_in(body: PasskeySignIn, tenant: PersonsTenant, passkeys: Service) -> Tokens:
    """Counts as both factors: the authenticator has asked for a PIN, a finger or a face.

    It is also the answer to `otp_required` whose `methods` name `passkey`; no password is needed beside it. A tenant
    need not be named: a passkey is of one.
    """
    return Tokens.of(await passkeys.sign_in(tenant, body.credential.as_sent()))
