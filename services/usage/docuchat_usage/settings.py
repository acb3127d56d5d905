"""What the usage service reads from its environment."""

from datetime import timedelta

from pydantic import Field

from docuchat_common.durations import Duration
from docuchat_common.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of this service, besides those that every service has."""

    port: int = Field(default=8003, ge=0, le=65535)
    database_pool_size: int = Field(default=16, ge=2)
    usage_batch: int = Field(default=128, ge=1, le=1000)
    hold_sweep_interval: Duration = timedelta(seconds=5)
    quota_announce_interval: Duration = timedelta(hours=1)
    holds_retention: Duration = timedelta(days=7)
    ledger_retention: Duration = timedelta(days=400)
    inbox_retention: Duration = timedelta(days=30)
