"""The gateway's settings; names and defaults of the variables are those of `.env.example`."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from docuchat_common.durations import Duration
from docuchat_common.settings import BlobUrl, ServiceSettings, ServiceUrl


class Settings(ServiceSettings):
    """What the gateway reads from its environment."""

    port: int = Field(default=8000, ge=0, le=65535)
    chat_url: ServiceUrl = "http://127.0.0.1:8002"
    usage_url: ServiceUrl = "http://127.0.0.1:8003"
    ingest_url: ServiceUrl = "http://127.0.0.1:8004"
    """The worker, for operators' requests only."""
    blob_url: BlobUrl
    """`file:///folder` or `s3://bucket/prefix`; the same store as the ingest worker's."""

    public_url: Annotated[ServiceUrl, AfterValidator(lambda url: url.rstrip("/"))] = "http://localhost:8000"
    """The gateway as browsers know it: pages load the widget from there, and the MCP server names it."""
    widget_file: Path | None = None
    """The script of the widget, as `deploy/web.sh` builds it; without it all but the widget works."""

    frontend_origin: str = "http://localhost:3000"
    """Origins whose pages may call the API and open the WebSocket: a comma-separated list, or `*`."""

    revisions_patience: Duration = timedelta(seconds=60)
    """While auth does not say who may still come, what it said stays in force for so long; then nobody is admitted."""

    rate_limit_per_minute: int = Field(default=50, ge=0)
    """Requests and WebSocket messages of one user in a sliding minute; 0 switches the limit off."""
    rate_limit_per_address: int = Field(default=600, ge=0)
    """The same for one client address, behind which many users may sit."""

    max_file_size_mb: int = Field(default=25, ge=1)
    max_attachment_size_mb: int = Field(default=10, ge=1)
    """Of a file that is attached to a message."""
    max_parallel_uploads: int = Field(default=16, ge=1)
    """Uploads being stored at once; more of them wait, each in its own connection and without memory of ours."""
    upload_timeout: Duration = timedelta(minutes=5)
    """The longest that one upload may take."""
    upload_idle: Duration = timedelta(seconds=10)
    """The longest silence within an upload."""
    upload_bytes_per_second: int = Field(default=4096, ge=0)
    """The slowest upload; a slower one is refused once it has kept us waiting for `upload_idle`."""
    idempotency: Duration = timedelta(hours=24)
    """How long the key of an upload is remembered."""

    holdings_interval: Duration = timedelta(hours=1)
    """Between two comparisons of what is stored with what usage counts."""
    upstream_timeout: Duration = timedelta(seconds=10)
    chat_timeout: Duration = timedelta(minutes=2)
    """Longest silence of chat before or within an answer."""

    socket_idle: Duration = timedelta(minutes=15)
    socket_send: Duration = timedelta(seconds=20)
    """A client that takes no frame for so long is dropped."""
    max_sockets_per_user: int = Field(default=20, ge=0)
    max_sockets_per_address: int = Field(default=200, ge=0)
    """Sockets open at once in one process of the gateway; of an address also as many streams of events. 0: no limit."""
    socket_max_message_bytes: int = Field(default=256 * 2**10, ge=1024)
    max_progress_streams: int = Field(default=20, ge=0)
    """Progress streams of one user that are open at once in one process; 0 is no limit."""
    progress_longest: Duration = timedelta(minutes=15)
    """A progress stream ends after so long; its client asks for another."""
    progress_poll: Duration = timedelta(seconds=1)
    progress_heartbeat: Duration = timedelta(seconds=15)

    @property
    def origins(self) -> list[str]:
        """The allowed origins, as browsers write them."""
        return [origin.strip().rstrip("/") for origin in self.frontend_origin.split(",") if origin.strip()]

    def allows_origin(self, origin: str) -> bool:
        """Whether a page of `origin` may open a WebSocket; locally so may every page of this machine."""
        if "*" in self.origins or origin.rstrip("/") in self.origins:
            return True
        try:
            host = urlsplit(origin).hostname
        except ValueError:  # not an origin at all
            return False
        return self.environment in {"local", "test"} and host in {"localhost", "127.0.0.1", "::1"}

    @property
    def max_file_bytes(self) -> int:
        return self.max_file_size_mb * 2**20

    @property
    def max_attachment_bytes(self) -> int:
        return self.max_attachment_size_mb * 2**20
