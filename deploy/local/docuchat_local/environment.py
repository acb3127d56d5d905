"""The environment of each process: what the user set, what is generated, and who may see which secret."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from docuchat_local.errors import BadEnvironment
from docuchat_local.state import Secrets
from docuchat_setup.logins import login_url

ROOT = Path(__file__).resolve().parents[3]
SETTINGS_REFUSED = 2
"""The exit status of a program that does not accept its settings (docuchat_common's `load_settings`)."""

# What a program needs to run at all, from the caller's environment.
_SYSTEM_NAMES = frozenset(
    {"PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
    | {f"{name}_proxy" for name in ("http", "https", "no", "all")}
    | {f"{name}_PROXY" for name in ("HTTP", "HTTPS", "NO", "ALL")}
)
# Secrets go to the services that use them and to nobody else.
_SECRET_READERS: Mapping[str, frozenset[str]] = {
    "JWT_SECRET": frozenset({"auth"}),
    "SECRET_KEY": frozenset({"auth"}),
    "SMTP_URL": frozenset({"auth"}),
    "OPENAI_API_KEY": frozenset({"chat", "ingest"}),
    "AWS_ACCESS_KEY_ID": frozenset({"gateway", "ingest"}),
    "AWS_SECRET_ACCESS_KEY": frozenset({"gateway", "ingest"}),
    "AWS_SESSION_TOKEN": frozenset({"gateway", "ingest"}),
}
# What this set-up decides itself, whatever stands in the user's environment.
_OWN_NAMES = frozenset(
    {"HOST", "PORT", "METRICS_PORT", "BACKING", "GATEWAY_PORT", "DATABASE_URL", "SYSTEM_DATABASE_URL"}
    | {"RABBITMQ_URL", "RABBITMQ_MANAGEMENT_URL", "RABBITMQ_CONTROL"}
)
_BLOB_READERS = frozenset({"gateway", "ingest"})
_REACH_SECONDS = 5
_LOOPBACK = "127.0.0.1"
_MOST_PROCESSES = 32


@dataclass(frozen=True, slots=True)
class ExternalServers:
    """Addresses of servers that somebody else runs; the database login must be allowed to create roles."""

    postgres_admin_url: str
    redis_url: str
    rabbitmq_url: str


def read_settings(env_file: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what the user set: `.env`, overridden by those variables of the environment that `.env.example` names."""
    names = known_names(ROOT / ".env.example")
    given = {name: value for name, value in environment.items() if name in names}
    return {name: value for name, value in (_read_env_file(env_file) | given).items() if value != ""}


def known_names(example: Path) -> frozenset[str]:
    """Return the variable names of `.env.example`, also those that are commented out."""
    lines = (line.removeprefix("#").strip() for line in example.read_text().splitlines())
    names = (line.partition("=")[0] for line in lines if "=" in line)
    return frozenset(name for name in names if name.isidentifier() and name.isupper())


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(path).items() if value is not None}


def external_servers(settings: Mapping[str, str]) -> ExternalServers | None:
    """Return the given servers when BACKING=external, None when ours are to be started; raises BadEnvironment."""
    backing = settings.get("BACKING", "embedded")
    if backing == "embedded":
        return None
    if backing != "external":
        raise BadEnvironment(f"BACKING is {backing!r}; it can be embedded (our own servers, the default) or external")
    missing = [name for name in ("DATABASE_URL", "REDIS_URL", "RABBITMQ_URL") if not settings.get(name)]
    if missing:
        raise BadEnvironment(
            f"BACKING=external needs {', '.join(missing)}, set in the environment or in .env (DATABASE_URL with a "
            "login that may create roles, for example postgresql://admin:password@db:5432/docuchat)"
        )
    return ExternalServers(
        plain_postgres_url(settings["DATABASE_URL"]), settings["REDIS_URL"], settings["RABBITMQ_URL"]
    )


def require_reachable(name: str, url: str, default_port: int) -> None:
    """Raise BadEnvironment when nobody answers there: at the start a wrong address is likelier than a restart."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or default_port
    except ValueError as fault:
        raise BadEnvironment(f"{name} is not an address: {fault}") from fault
    if not host:
        raise BadEnvironment(f"{name} names no server")
    try:
        socket.create_connection((host, port), timeout=_REACH_SECONDS).close()
    except OSError as fault:
        raise BadEnvironment(f"{name}: nobody answers at {host}:{port} ({fault.strerror or fault})") from fault


def plain_postgres_url(url: str) -> str:
    """Accept SQLAlchemy's spelling `postgresql+asyncpg://` of the same address."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.partition("+")[0] not in {"postgresql", "postgres"}:
        raise BadEnvironment(f"DATABASE_URL must begin with postgresql://, not with {scheme}")
    return f"postgresql://{rest}"


def with_login(url: str, user: str, password: str) -> str:
    """Return the same address with another login."""
    parts = urlsplit(url)
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{quote(user)}:{quote(password)}@{place}"))


def blob_url(settings: Mapping[str, str], folder: Path) -> str:
    """Return BLOB_URL: as given, else the bucket S3_BUCKET_NAME, else a local folder."""
    if given := settings.get("BLOB_URL"):
        return given
    if bucket := settings.get("S3_BUCKET_NAME"):
        return f"s3://{bucket}"
    blobs = folder / "blobs"
    blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
    return blobs.as_uri()


_NOTHING_LEAVES = (
    "no OPENAI_API_KEY: questions and documents stay on this machine, answers are quotations, nothing costs"
)


def model_provider(settings: Mapping[str, str]) -> str:
    """Return which models the product will use and what they cost, as a line for the terminal."""
    embedding = settings.get("EMBEDDING_MODEL", "text-embedding-3-small")
    elsewhere = settings.get("EMBEDDING_BASE_URL") if settings.get("EMBEDDING_PROVIDER") != "wordllama" else None
    embeds = f"{elsewhere} gets document texts and questions for {embedding}"
    if not settings.get("OPENAI_API_KEY"):
        said = "no OPENAI_API_KEY: answers are quotations"
        return f"{said}, but {embeds}" if elsewhere else _NOTHING_LEAVES
    place = settings.get("OPENAI_BASE_URL", "https://api.openai.com/v1")
    billed = settings.get("OPENAI_MODEL", "gpt-4o-mini") + ("" if elsewhere else f" and {embedding}")
    said = f"OPENAI_API_KEY is set: {place} gets questions and document texts, and bills every token of {billed}"
    return f"{said}; {embeds}" if elsewhere else said


def demo_signup(settings: Mapping[str, str]) -> str:
    """Who may join tenant 1 uninvited: anybody (`open`) only while no other machine can reach the gateway."""
    host = settings.get("HOST", _LOOPBACK)
    return "open" if host == "localhost" or host.startswith("127.") or host == "::1" else "invite"


@dataclass(frozen=True, slots=True)
class ServiceEnvironments:
    """Builds the environment of each service."""

    settings: Mapping[str, str]
    secrets: Secrets
    postgres_url: str
    redis_url: str
    rabbitmq_url: str
    blob_url: str
    spool: Path
    vocabulary: Path
    ports: Mapping[str, int]
    home: Path | None = None
    """HOME of services that run as another account than ours, which may not look into our own."""

    @property
    def demo_signup(self) -> str:
        return demo_signup(self.settings)

    def process_count(self, service: str) -> int:
        """How many processes of a service share its socket: `CHAT_PROCESSES` and its like, 1 when nothing is said."""
        name = f"{service.upper()}_PROCESSES"
        given = self.settings.get(name, "1")
        if not given.isdecimal() or not 1 <= int(given) <= _MOST_PROCESSES:
            raise BadEnvironment(f"{name} is {given!r}; it can be a number from 1 to {_MOST_PROCESSES}")
        return int(given)

    def for_service(self, service: str, port: int, management_port: int = 0) -> dict[str, str]:
        """The environment of one process of `service`: its own weak logins, and no secret of another service."""
        environment = {name: value for name, value in os.environ.items() if name in _SYSTEM_NAMES}
        if self.home:
            environment["HOME"] = str(self.home)
        environment |= {
            "ENVIRONMENT": "local",
            "SELF_SERVICE_TENANTS": "true",
            "PUBLIC_URL": f"http://localhost:{self.ports.get('gateway', 8000)}",
            "WIDGET_FILE": str(ROOT / "web" / "widget" / "dist" / "widget.js"),
            "LOG_FORMAT": "pretty",
            "SHUTDOWN_GRACE": "6s",
            "PYTHONUNBUFFERED": "1",
            "PYTHONSAFEPATH": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        environment |= {
            name: value
            for name, value in self.settings.items()
            if name not in _OWN_NAMES and service in _SECRET_READERS.get(name, {service})
        }
        environment |= {
            "HOST": self.settings.get("HOST", _LOOPBACK) if service == "gateway" else _LOOPBACK,
            "PORT": str(port),
            "METRICS_PORT": str(management_port),
            "DATABASE_URL": self.role_url(f"docuchat_{service}"),
            "SYSTEM_DATABASE_URL": self.role_url(f"docuchat_{service}_system"),
            "REDIS_URL": self.redis_url,
            "RABBITMQ_URL": login_url(self.rabbitmq_url, service, self.broker_password(service)),
            "INTERNAL_TOKEN": self.settings.get("INTERNAL_TOKEN") or self.secrets.get("internal_token"),
            "TIKTOKEN_CACHE_DIR": str(self.vocabulary),
        }
        for name, upstream in (
            ("AUTH_URL", "auth"),
            ("CHAT_URL", "chat"),
            ("USAGE_URL", "usage"),
            ("INGEST_URL", "ingest"),
        ):
            environment[name] = f"http://127.0.0.1:{self.ports[upstream]}"
        if service in _BLOB_READERS:
            environment["BLOB_URL"] = self.blob_url
        if service == "chat":
            environment["SPOOL_DIR"] = self.settings.get("SPOOL_DIR") or str(self.spool)
        if service == "auth":
            given = self.settings.get("JWT_SECRET") or self.settings.get("SECRET_KEY")
            environment.pop("SECRET_KEY", None)
            environment["JWT_SECRET"] = given or self.secrets.get("jwt_secret")
            if not {"WEBAUTHN_RP_ID", "WEBAUTHN_ORIGINS"} & environment.keys():  # pages on whichever port it took
                own = f"http://localhost:{self.ports.get('gateway', 8000)}"
                environment["WEBAUTHN_ORIGINS"] = f"{own},http://localhost:3000"
        return environment

    def role_url(self, role: str) -> str:
        """The database address with the generated login of `role`."""
        return with_login(self.postgres_url, role, self.role_password(role))

    def role_password(self, role: str) -> str:
        return self.secrets.get(f"role_{role}")

    def broker_password(self, service: str) -> str:
        return self.secrets.get(f"broker_{service}")
