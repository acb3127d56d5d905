"""Settings that every service reads from its environment, once, at the start of its process."""

import re
import sys
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from docuchat_common.durations import Duration

MINIMUM_SECRET_LENGTH = 32
_FEWEST_CHARACTERS = 8
_PLACEHOLDER = re.compile(
    r"change[-_ ]?me|your[-_ ]|[-_ ]here$|generate[-_ ]a|replace[-_ ](me|this)|placeholder|example"
)
"""What documentation puts where a secret belongs; everybody knows it."""


def _plain_postgres_url(value: object) -> object:
    """Accept SQLAlchemy's spelling `postgresql+asyncpg://` of the same address."""
    if isinstance(value, str):
        return value.replace("postgresql+asyncpg://", "postgresql://", 1)
    return value


def _hard_to_guess(value: SecretStr) -> SecretStr:
    secret = value.get_secret_value()
    if len(secret) < MINIMUM_SECRET_LENGTH:
        reason = f"is shorter than {MINIMUM_SECRET_LENGTH} characters"
    elif _PLACEHOLDER.search(secret.lower()):
        reason = "is a placeholder out of some documentation, not a secret"
    elif len(set(secret)) < _FEWEST_CHARACTERS:
        reason = "repeats too few characters"
    else:
        return value
    raise ValueError(f"{reason}; generate one with `python3 -c 'import secrets; print(secrets.token_urlsafe(48))'`")


def _place_of_files(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"file", "s3"} or (
        parts.scheme == "file" and (parts.netloc or not parts.path.startswith("/"))
    ):
        raise ValueError("is not the address of a place for files, like file:///folder or s3://bucket/prefix")
    return value


def _address_of_a_service(value: str) -> str:
    with suppress(ValueError):  # of a port that is no number, a bracket that is not closed
        parts = urlsplit(value)
        # paths are appended to it: it ends before what would follow one
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and not re.search(r"[\s?#]", value):
            return value
    raise ValueError("is not the address of a service, like https://host/path or http://host:port")


PostgresUrl = Annotated[str, BeforeValidator(_plain_postgres_url)]
Secret = Annotated[SecretStr, AfterValidator(_hard_to_guess)]
BlobUrl = Annotated[str, AfterValidator(_place_of_files)]
ServiceUrl = Annotated[str, AfterValidator(_address_of_a_service)]


class ServiceSettings(BaseSettings):
    """What each service needs: addresses of the shared servers, how to log, whom to trust."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    environment: Literal["local", "test", "staging", "production"] = "production"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "pretty"] = "auto"

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    listen_fd: int | None = Field(default=None, ge=3)
    """A socket that listens already, inherited from a supervisor; `host` and `port` are not bound then."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Where this process shows its state and metrics; 0 shows them nowhere."""
    client_stall: Duration = timedelta(seconds=60)
    """A client that takes nothing of an answer for so long is dropped."""
    shutdown_grace: Duration = timedelta(seconds=20)
    """How long running requests get at a stop."""

    database_url: PostgresUrl
    system_database_url: PostgresUrl
    database_pool_size: int = Field(default=10, ge=1)
    redis_url: str
    rate_limit_patience: Duration = timedelta(milliseconds=100)
    """Redis counts as away when it takes longer to count a request, which then passes uncounted."""
    rabbitmq_url: str

    internal_token: Secret
    auth_url: ServiceUrl = "http://127.0.0.1:8001"
    jwt_issuer: str = "docuchat"
    jwt_audience: str = "docuchat"
    tenant_header: str = "X-Tenant-ID"

    otel_exporter_otlp_endpoint: str | None = None


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load_settings(settings_class: type[SettingsT]) -> SettingsT:
    """Read `settings_class` from the environment; on a mistake print what to mend, a line each, and exit with 2."""
    try:
        return settings_class()
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"]).upper() or "settings"
            reason = "is missing" if problem["type"] == "missing" else problem["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"cannot start: {name}: {reason}\n")
        raise SystemExit(2) from error
