"""What the tests of the local run share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from docuchat_local.environment import ServiceEnvironments, blob_url
from docuchat_local.services import SERVICES
from docuchat_local.state import Secrets

Environments = Callable[[dict[str, str]], ServiceEnvironments]


@pytest.fixture
def environments(tmp_path: Path) -> Environments:
    """The services' environments under some settings, on servers that nobody asks."""

    def build(settings: dict[str, str]) -> ServiceEnvironments:
        return ServiceEnvironments(
            settings=settings,
            secrets=Secrets(tmp_path / "secrets.json"),
            postgres_url="postgresql://admin:pw@127.0.0.1:5432/docuchat",
            redis_url="redis://:pw@127.0.0.1/0",
            rabbitmq_url="amqp://u:pw@127.0.0.1/",
            blob_url=blob_url(settings, tmp_path),
            spool=tmp_path,
            vocabulary=tmp_path,
            ports={entry.service: entry.port for entry in SERVICES},
        )

    return build
