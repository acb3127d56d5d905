"""What the usage service reads from its environment."""

from pydantic import Field

from docuchat_common.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of this service, besides those that every service has."""

    port: int = Field(default=8003, ge=0, le=65535)
    database_pool_size: int = Field(default=16, ge=2)
    usage_prefetch: int = Field(default=8, ge=1, le=256)
    hold_sweep_seconds: float = Field(default=5.0, gt=0)
    keep_closed_holds_days: int = Field(default=7, ge=1)
    keep_inbox_days: int = Field(default=30, ge=1)
    quota_announce_seconds: int = Field(default=3600, ge=1)
