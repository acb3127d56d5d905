"""Bodies about second factors."""

from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, Field

from docuchat_auth.second_factors.domain import Factors, TotpEnrolment
from docuchat_common.http.json_body import StrictBody
from docuchat_common.text import western_digits


class SecondFactorView(BaseModel):
    """What one has beside the first proof."""

    totp: bool = Field(description="Whether an authenticator app is set up.")
    passkeys: int
    recovery_codes: int = Field(description="Those that are left of ten.")
    required: bool = Field(description="Whether the tenant demands a second factor.")
    asked_for: bool = Field(description="Whether signing in by password or mailed code asks for one.")

    @classmethod
    def of(cls, factors: Factors) -> Self:
        """Present what somebody has."""
        return cls(
            totp=factors.has_totp,
            passkeys=factors.passkeys,
            recovery_codes=factors.recovery_codes,
            required=factors.is_required,
            asked_for=factors.are_asked_for,
        )


class TotpSecret(BaseModel):
    """What an authenticator app is told; not in force before it is confirmed."""

    secret: str = Field(description="To type, in base32.", examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"])
    otpauth_uri: str = Field(
        description="To show as a QR code.",
        examples=["otpauth://totp/DocuChat:ann%40example.com?secret=JBSWY3DPEHPK3PXP&issuer=DocuChat"],
    )

    @classmethod
    def of(cls, enrolment: TotpEnrolment) -> Self:
        """Present a secret."""
        return cls(secret=enrolment.secret, otpauth_uri=enrolment.uri)


class TotpConfirmation(StrictBody):
    """A code that the app shows."""

    otp: Annotated[
        str,
        BeforeValidator(western_digits),
        Field(pattern=r"^\s*[0-9]{3}\s?[0-9]{3}\s*$", max_length=20, examples=["123456"]),
    ]


class RecoveryCodesView(BaseModel):
    """Each stands in for a second factor once; they are shown here and nowhere else."""

    recovery_codes: list[str] = Field(examples=[["mfrg-gzdf-mztw-q2lk"]])
