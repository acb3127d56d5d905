"""Settings are looked at before anything is started."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from docuchat_local.acceptance import require_accepted
from docuchat_local.errors import BadEnvironment

from .conftest import Environments

Accept = Callable[[dict[str, str]], None]


@pytest.fixture
def accept(environments: Environments, tmp_path: Path) -> Accept:
    return lambda settings: require_accepted(environments(settings), tmp_path / "settings.accepted")


def test_all_that_services_would_refuse_is_named_once_and_at_once(accept: Accept) -> None:
    with pytest.raises(BadEnvironment) as refused:
        accept({"JWT_SECRET": "short", "MAX_FILE_SIZE_MB": "0", "BLOB_URL": "foo", "TOP_K": "many"})
    told = str(refused.value).splitlines()[1:]
    assert [line.partition(":")[0] for line in told] == ["JWT_SECRET", "TOP_K", "BLOB_URL", "MAX_FILE_SIZE_MB"]
    assert told[0].endswith("(auth)")
    assert told[-1].endswith("(ingest, gateway)")


def test_settings_that_were_accepted_are_not_asked_about_again(accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    accept({"TOP_K": "7"})
    monkeypatch.setattr(sys, "executable", "/nowhere")
    accept({"TOP_K": "7"})
    with pytest.raises(OSError, match="/nowhere"):
        accept({"TOP_K": "8"})


@pytest.mark.parametrize(
    "wrong", [{"CHAT_PROCESSES": "many"}, {"USAGE_STREAM_MAX_AGE": "30 days"}, {"USAGE_STREAM_MAX_BYTES": "1 GB"}]
)
def test_what_the_supervisor_reads_itself_is_looked_at_too(accept: Accept, wrong: dict[str, str]) -> None:
    with pytest.raises(BadEnvironment, match=next(iter(wrong))):
        accept(wrong)
