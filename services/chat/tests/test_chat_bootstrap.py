from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from docuchat_chat.bootstrap import open_container
from docuchat_chat.settings import Settings


async def test_all_that_must_go_on_beside_the_requests_is_started(
    service_environment: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**service_environment("chat"), "SPOOL_DIR": str(tmp_path), "OPENAI_API_KEY": ""}.items():
        monkeypatch.setenv(name, value)
    async with open_container(Settings()) as container:
        assert container.background.names == {
            "relay",
            "board",
            "stops",
            "recovery",
            "late_settlements",
            "take_over",
            "compare_books",
            "purge",
            "removals",
            "forget_calls",
            "erasures",
            "chatbots",
            "chats_of_chatbots",
            "not_kept",
            "retention",
            "expired_shares",
            "ended_sessions",
        }
