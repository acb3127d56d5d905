"""What no log shows."""

import pytest

from docuchat_common.logging import _redact


@pytest.mark.parametrize("name", ["authorization", "Authorization", "X-Internal-Token", "PASSWORD"])
def test_a_secret_is_not_logged_however_its_name_is_written(name: str) -> None:
    assert _redact(None, "info", {"event": "x", name: "a secret"}) == {"event": "x", name: "[redacted]"}
