"""HTTP: second factors, one's own and those of who has lost them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter

from docuchat_auth.errors import TooManyAttempts
from docuchat_auth.http import NoStore
from docuchat_auth.members.errors import OwnersOnly
from docuchat_auth.second_factors.errors import NoSecondFactor, TotpNotBegun, TotpNotFound
from docuchat_auth.second_factors.schemas import RecoveryCodesView, SecondFactorView, TotpConfirmation, TotpSecret
from docuchat_auth.second_factors.service import SecondFactors
from docuchat_auth.sessions.errors import OtpInvalid
from docuchat_auth.users.errors import UserGone, UserNotFound
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.http.sign_ins import RecentSignInRequired
from docuchat_common.ids import UserId

router = APIRouter(tags=["users"], route_class=JsonRoute, prefix="/v1/users")
_OWN = "/me/second-factor"


Service = Annotated[SecondFactors, provided("second_factors")]
Self = Annotated[Caller, requires("account.use")]


@router.get(_OWN, summary="One's second factors", operation_id="getSecondFactor")
@raises(UserGone)
async def get_second_factor(caller: Self, factors: Service) -> SecondFactorView:
    """What is set up, what is left, and whether the tenant demands it."""
    return SecondFactorView.of(await factors.describe(caller))


@router.post(
    f"{_OWN}/totp",
    summary="Begin to set up an authenticator app",
    operation_id="beginTotp",
    dependencies=[NoStore],
)
@raises(UserGone, RecentSignInRequired)
@audited("totp.begin")
async def begin_totp(caller: Self, factors: Service) -> TotpSecret:
    """A secret for the app, which is in force once `confirm` has had a code of it, within an hour.

    Until then an app that is in force stays so; beginning again shows another secret in place of this one.
    """
    return TotpSecret.of(await factors.begin_totp(caller))


@router.post(
    f"{_OWN}/totp/confirm",
    summary="Put an authenticator app in force",
    operation_id="confirmTotp",
    dependencies=[NoStore],
)
@raises(UserGone, RecentSignInRequired, TotpNotBegun, OtpInvalid, TooManyAttempts)
@audited("totp.confirm")
async def confirm_totp(body: TotpConfirmation, caller: Self, factors: Service) -> RecoveryCodesView:
    """From now on signing in by password or mailed code asks for a code of the app, or for one of these ten, once each.

    All other sessions end. Where the tenant demanded it, refresh the token: the next one is good for everything.
    """
    return RecoveryCodesView(recovery_codes=await factors.confirm_totp(caller, body.otp))


@router.post(
    f"{_OWN}/recovery-codes",
    summary="Make new recovery codes",
    operation_id="renewRecoveryCodes",
    dependencies=[NoStore],
)
@raises(UserGone, RecentSignInRequired, NoSecondFactor)
@audited("recovery_codes.renew")
async def renew_recovery_codes(caller: Self, factors: Service) -> RecoveryCodesView:
    """Ten others; those before are void."""
    return RecoveryCodesView(recovery_codes=await factors.renew_recovery_codes(caller))


@router.delete(f"{_OWN}/totp", summary="Take the authenticator app away", status_code=204, operation_id="removeTotp")
@raises(UserGone, RecentSignInRequired, TotpNotFound)
@audited("totp.remove")
async def remove_totp(caller: Self, factors: Service) -> None:
    """All other sessions end; without a passkey the recovery codes are void as well."""
    await factors.remove_totp(caller)


@router.delete(
    "/{user_id}/second-factor",
    summary="Take somebody's second factors away",
    status_code=204,
    operation_id="resetSecondFactorOfUser",
)
@raises(UserNotFound, OwnersOnly, RecentSignInRequired, NotAllowed)
@audited("user.reset_second_factor")
async def reset(user_id: UUID, caller: Annotated[Caller, requires("users.manage")], factors: Service) -> None:
    """For who has lost telephone and recovery codes. All sessions of that user end; only owners do it to an owner."""
    await factors.reset(caller, UserId(user_id))
