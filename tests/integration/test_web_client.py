"""web/client against scripted servers, by Node's own test runner: it needs no package, so no npm registry."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from docuchat_testkit.vocabulary import repository_root


def test_the_typescript_client_does_what_its_own_tests_say() -> None:
    node, folder = Path(sys.executable).with_name("node"), repository_root() / "web" / "client"
    tests = sorted(path.name for path in (folder / "test").glob("*.test.ts"))
    command = [node, "--test", "--test-reporter=dot", *(f"test/{name}" for name in tests)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert len(tests) >= 4
    assert done.returncode == 0, done.stdout + done.stderr
