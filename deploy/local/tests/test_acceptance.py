"""Settings are looked at before anything is started."""

import sys
from pathlib import Path

import pytest

from docuchat_local.acceptance import require_accepted
from docuchat_local.environment import ServiceEnvironments, blob_url
from docuchat_local.errors import BadEnvironment
from docuchat_local.services import SERVICES
from docuchat_local.state import Secrets


def accept(folder: Path, settings: dict[str, str]) -> None:
    environments = ServiceEnvironments(
        settings=settings,
        secrets=Secrets(folder / "secrets.json"),
        postgres_url="postgresql://127.0.0.1/docuchat",
        redis_url="redis://127.0.0.1/0",
        rabbitmq_url="amqp://127.0.0.1/",
        blob_url=blob_url(settings, folder),
        spool=folder,
        vocabulary=folder,
        ports={entry.service: entry.port for entry in SERVICES},
    )
    require_accepted(environments, folder / "settings.accepted")


def test_all_that_services_would_refuse_is_named_once_and_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadEnvironment) as refused:
        accept(tmp_path, {"JWT_SECRET": "short", "MAX_FILE_SIZE_MB": "0", "BLOB_URL": "foo", "TOP_K": "many"})
    told = str(refused.value).splitlines()[1:]
    assert [line.partition(":")[0] for line in told] == ["JWT_SECRET", "TOP_K", "BLOB_URL", "MAX_FILE_SIZE_MB"]
    assert told[0].endswith("(auth)")
    assert told[-1].endswith("(ingest, gateway)")


def test_settings_that_were_accepted_are_not_asked_about_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    accept(tmp_path, {"TOP_K": "7"})
    monkeypatch.setattr(sys, "executable", "/nowhere")
    accept(tmp_path, {"TOP_K": "7"})
    with pytest.raises(OSError, match="/nowhere"):
        accept(tmp_path, {"TOP_K": "8"})


@pytest.mark.parametrize(
    "wrong", [{"CHAT_PROCESSES": "many"}, {"USAGE_STREAM_MAX_AGE": "30 days"}, {"USAGE_STREAM_MAX_BYTES": "1 GB"}]
)
def test_what_the_supervisor_reads_itself_is_looked_at_too(tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(BadEnvironment, match=next(iter(wrong))):
        accept(tmp_path, wrong)
