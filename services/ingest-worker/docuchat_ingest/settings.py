"""What the ingest worker reads from its environment."""

from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from docuchat_common.durations import Duration
from docuchat_common.settings import BlobUrl, ServiceSettings, ServiceUrl
from docuchat_models.settings import EmbeddingSettings


class Settings(EmbeddingSettings, ServiceSettings):
    """Settings of this service, besides those that every service has."""

    port: int = Field(default=8004, ge=0, le=65535)
    chat_url: ServiceUrl = "http://127.0.0.1:8002"
    usage_url: ServiceUrl = "http://127.0.0.1:8003"
    blob_url: BlobUrl

    max_pdf_pages: int = Field(default=500, ge=1)
    max_file_size_mb: int = Field(default=25, ge=1)
    chunk_token_size: int = Field(default=400, ge=16, le=8000)
    chunk_overlap: int = Field(default=40, ge=0)
    embedding_batch_size: int = Field(default=96, ge=1, le=2048)

    ingest_concurrency: int = Field(default=2, ge=1, le=64)
    ingest_max_attempts: int = Field(default=5, ge=1)
    ingest_lease: Annotated[Duration, Field(ge=timedelta(seconds=3))] = timedelta(seconds=30)
    ingest_poll: Duration = timedelta(seconds=2)
    ingest_drain: Duration = timedelta(seconds=10)
    upload_abandoned_after: Duration = timedelta(hours=1)
    """An upload whose file has not arrived by then is taken away, with what came of it."""
    unused_attachments_kept: Annotated[Duration, Field(ge=timedelta(minutes=5))] = timedelta(days=1)
    """A file that was uploaded for a message is deleted when it is in no chat by then."""
    export_lifetime: Annotated[Duration, Field(ge=timedelta(minutes=1))] = timedelta(days=7)
    """How long an archive can be fetched."""
    parser_memory_mb: int = Field(default=512, ge=128)
    parser_cpu: Duration = timedelta(seconds=20)
    parser_wall: Duration = timedelta(seconds=28)
    parser_documents: int = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _overlap_fits(self) -> Self:
        if self.chunk_overlap >= self.chunk_token_size:
            raise ValueError("CHUNK_OVERLAP: must be smaller than CHUNK_TOKEN_SIZE")
        return self
