"""What auth reads from its environment."""

from datetime import timedelta
from typing import Annotated

from limits import parse_many
from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationInfo

from docuchat_auth.adapters.mail import MailServer
from docuchat_auth.signing_keys.domain import SigningAlgorithm
from docuchat_common.durations import Duration
from docuchat_common.settings import Secret, ServiceSettings


def _rate(value: str) -> str:
    try:
        parse_many(value)
    except ValueError:
        raise ValueError("must look like 5/15minutes or 5/15minutes;20/day") from None
    return value


def _algorithm(value: object) -> object:
    """EdDSA and ES256 only: with HS256 whoever can verify a token could also mint one."""
    if isinstance(value, str):
        for known in SigningAlgorithm:
            if value.strip().lower() == known.lower():
                return known
    raise ValueError(
        "must be EdDSA or ES256. HS256 and other shared-secret algorithms are refused: every service that verifies "
        "a token would hold the key that makes tokens. Remove ALGORITHM; JWT_SECRET stays, it protects the keys"
    )


def _mail_url(value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
    if value is not None:
        MailServer.from_url(value.get_secret_value())
    elif info.data.get("environment") != "local":
        raise ValueError(
            "is missing, so sign-in codes could not be sent; set it, like smtp://user:password@host:587. "
            "Only with ENVIRONMENT=local are codes written to the log instead"
        )
    return value


Rate = Annotated[str, AfterValidator(_rate)]


class Settings(ServiceSettings):
    """The environment of auth."""

    port: int = Field(default=8001, ge=0, le=65535)

    jwt_secret: Secret = Field(validation_alias=AliasChoices("JWT_SECRET", "SECRET_KEY"))
    algorithm: Annotated[SigningAlgorithm, BeforeValidator(_algorithm)] = SigningAlgorithm.EDDSA
    access_token_ttl: Duration = timedelta(hours=1)
    refresh_token_ttl: Duration = timedelta(days=30)
    signing_key_publish_ahead: Duration = timedelta(minutes=10)

    smtp_url: Annotated[SecretStr | None, AfterValidator(_mail_url)] = Field(default=None, validate_default=True)
    mail_from: str = "DocuChat <no-reply@localhost>"
    mail_queue_size: int = Field(default=1000, ge=1)
    mail_workers: int = Field(default=4, ge=1, le=64)

    code_ttl: Duration = timedelta(minutes=10)
    code_guesses: int = Field(default=5, ge=1, le=5)
    code_sends_per_email: Rate = "6/10minutes;30/day"
    code_sends_per_address: Rate = "30/minute;300/hour"
    code_tries_per_account: Rate = "100/hour"
    code_tries_per_email: Rate = "200/hour"
    code_tries_per_address: Rate = "60/minute;600/hour"
