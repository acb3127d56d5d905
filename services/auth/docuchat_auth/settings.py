"""What auth reads from its environment."""

import ipaddress
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationInfo
from pydantic_settings import NoDecode

from docuchat_auth.adapters.mail import MailServer
from docuchat_auth.adapters.name_servers import parse_name_server
from docuchat_auth.signing_keys.domain import SigningAlgorithm
from docuchat_common.durations import Duration
from docuchat_common.egress import EgressSettings
from docuchat_common.rate_limits import Rates, parse_rates
from docuchat_common.settings import Secret, ServiceSettings, ServiceUrl


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


def _listed(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _name_servers(servers: tuple[str, ...]) -> tuple[str, ...]:
    for server in servers:
        try:
            ipaddress.ip_address(parse_name_server(server)[0])
        except ValueError:
            raise ValueError(
                f"{server!r} is not the address of a name server, like 192.0.2.1 or 192.0.2.1:5353"
            ) from None
    return servers


def _zero_is_never(value: object) -> object:
    return None if str(value).strip() == "0" else value


def _after_publishing(value: timedelta | None, info: ValidationInfo) -> timedelta | None:
    ahead = info.data.get("signing_key_publish_ahead", timedelta(0))
    if value is not None and value <= ahead:
        raise ValueError("must be longer than SIGNING_KEY_PUBLISH_AHEAD, so that a key signs before it is replaced")
    return value


Period = Annotated[Duration | None, BeforeValidator(_zero_is_never)]
"""A duration, or 0 for never."""


def _origins(value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Where a browser offers passkeys of the domain: over https at it or below it, or on this machine."""
    domain = info.data.get("webauthn_rp_id", "")
    for origin in value:
        parts = urlsplit(origin)
        host = parts.hostname or ""
        is_safe = parts.scheme == "https" or (parts.scheme == "http" and host == "localhost")
        if not is_safe or parts.path or not (host == domain or host.endswith(f".{domain}")):
            raise ValueError(
                f"has {origin!r}; each must look like https://chat.example.com, at WEBAUTHN_RP_ID ({domain}) or below"
            )
    return value


class Settings(EgressSettings, ServiceSettings):
    """The environment of auth."""

    port: int = Field(default=8001, ge=0, le=65535)

    jwt_secret: Secret = Field(validation_alias=AliasChoices("JWT_SECRET", "SECRET_KEY"))
    algorithm: Annotated[SigningAlgorithm, BeforeValidator(_algorithm)] = SigningAlgorithm.EDDSA
    access_token_ttl: Duration = timedelta(hours=1)
    refresh_token_ttl: Duration = timedelta(days=30)
    session_longest: Period = timedelta(days=90)
    """A session ends at this age, however often it was refreshed."""
    refreshes_per_session: Rates = parse_rates("20/m;200/h")
    signing_key_publish_ahead: Duration = timedelta(minutes=10)
    signing_key_rotation: Annotated[Period, AfterValidator(_after_publishing)] = timedelta(days=90)
    """The age at which a signing key is replaced."""

    smtp_url: Annotated[SecretStr | None, AfterValidator(_mail_url)] = Field(default=None, validate_default=True)
    mail_from: str = "DocuChat <no-reply@localhost>"
    mail_queue_size: int = Field(default=1000, ge=1)
    mail_workers: int = Field(default=4, ge=1, le=64)

    code_ttl: Duration = timedelta(minutes=10)
    code_guesses: int = Field(default=5, ge=2, le=5)
    code_failures_per_hour: int = Field(default=100, ge=5, le=100)
    code_sends_per_browser: Rates = parse_rates("6/10m;30/d")
    code_sends_per_email: Rates = parse_rates("20/10m;60/d")
    code_sends_per_email_and_address: Rates = parse_rates("12/10m;40/d")
    code_sends_per_address: Rates = parse_rates("30/m;300/h")
    code_tries_per_address: Rates = parse_rates("60/m;600/h")

    otp_failures: Rates = parse_rates("10/h;40/d")
    """Wrong codes of a second factor, of an account, and of each device on which one was shown before."""
    totp_issuer: str = Field(default="DocuChat", pattern=r"^[^:]{1,60}$")
    """What authenticator apps show beside the account."""

    webauthn_rp_id: str = Field(default="localhost", pattern=r"^[a-z0-9.-]{1,253}$")
    """The domain that passkeys are for; another one makes all of them useless."""
    webauthn_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_origins)] = (
        "http://localhost:8000",
        "http://localhost:3000",
    )
    """The origins of the pages that ask for passkeys, at that domain or below it."""

    invitation_url: str | None = None
    """The page that accepts invitations; their mails lead to it, with the token behind a `#`. None: the gateway's."""
    invitation_ttl: Duration = timedelta(days=7)
    expired_invitations_kept: Duration = timedelta(days=30)
    """So long after its end an invitation can be sent again."""
    invitations_per_tenant: Rates = parse_rates("100/h;500/d")
    invitations_per_email: Rates = parse_rates("6/h;20/d")

    public_url: Annotated[ServiceUrl, AfterValidator(lambda url: url.rstrip("/"))] = "http://localhost:8000"
    """The gateway as browsers know it: identity providers send them back there."""
    sign_in_return_urls: Annotated[frozenset[str], NoDecode, BeforeValidator(_listed)] = frozenset(
        {"http://localhost:3000/signed-in"}
    )
    """Pages of front ends to which a sign-in by an identity provider may lead, exactly."""
    dns_servers: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_name_servers)] = ()
    """Who is asked for the records that prove a domain; none: the machine's own resolvers."""
    dns_timeout: Duration = timedelta(seconds=5)
    tenant_deletion_grace: Duration = timedelta(days=7)
    """How long after it was asked a tenant is deleted, or keeps less; until then that can be taken back."""
    audit_retention: Annotated[Duration, Field(ge=timedelta(days=30))] = timedelta(days=400)
    """How long entries of the audit log are kept."""

    self_service_tenants: bool = False
    """Whether anybody may found a tenant by registering with an `organization`."""
    unproven_accounts_kept: Period = timedelta(days=180)
    """Who registered with an address, never proved it and has not signed in for so long is removed."""
    registrations_per_address: Rates = parse_rates("20/m;100/h")
    passwords_per_address: Rates = parse_rates("60/m;600/h")
    """New passwords that are judged and hashed, at registration, reset and change."""
    failures_per_network: Rates = parse_rates("300/h;1000/d")
    """Wrong passwords, and wrong second factors, of one network over all accounts; known devices are not asked."""
    visitors_per_address: Rates = parse_rates("120/m;3000/h")
    """Tokens that the visitors of chatbots at one client address are given, new and renewed."""
    password_threads: int = Field(default=2, ge=1, le=32)
    password_room: int = Field(default=64, ge=4)
    """Passwords that may be in work or wait; who comes then is told to come again. A network has a quarter of it,
    and half of the threads."""
    login_refused_after: Duration = timedelta(milliseconds=400)
    """Refusals come at multiples of this, so that their time tells nothing."""

    @property
    def invitation_page(self) -> str:
        """Where mails of invitations lead to."""
        return self.invitation_url or f"{self.public_url}/invitation"

    @property
    def first_comer_owns(self) -> bool:
        """Whether the first user of a tenant without people becomes its owner."""
        return self.environment in {"local", "test"}
