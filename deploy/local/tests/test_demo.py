"""`make demo`, as it stands."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.timeout(600)


def test_the_demonstration_starts_a_product_goes_the_whole_way_and_leaves_nothing_running(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "docuchat_local", "demo", "--folder", str(tmp_path / ".local")],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "30 days of paid leave" in done.stdout
    assert "That was the whole way" in done.stdout
