"""What is built of web/: types, style, the widget's size, and that a set-up without the npm registry goes on."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from docuchat_gateway.widget.domain import Build
from docuchat_testkit.vocabulary import repository_root

pytestmark = pytest.mark.full

ROOT = repository_root()
_BUDGET = 30 * 1024
_SOURCES = ("deploy/web.sh", "requirements.lock", "web")
_LEFT_OUT = shutil.ignore_patterns("node_modules", "dist", "build")


def run(*command: str | Path, at: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    given = {**os.environ, "PATH": path, "NO_COLOR": "1", **environment}
    return subprocess.run(command, cwd=at, env=given, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of what the widget is built from, without what was installed and built."""
    for name in _SOURCES:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=_LEFT_OUT)
        else:
            shutil.copy2(source, target)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    return tmp_path


def test_types_and_style_are_right() -> None:
    assert run(ROOT / "deploy" / "web.sh", "--must").returncode == 0
    done = run("npm", "run", "--silent", "check", at=ROOT / "web")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_widget_is_one_file_within_its_budget_that_the_gateway_takes() -> None:
    assert run(ROOT / "deploy" / "web.sh", "--must").returncode == 0
    (script,) = (ROOT / "web" / "widget" / "dist").glob("*.js")
    build = Build.of(script.read_bytes())
    assert len(gzip.compress(build.script)) < _BUDGET
    assert len(build.packed) < _BUDGET
    assert b"innerHTML" not in build.script


def test_the_widget_is_built_only_when_something_of_it_has_changed(clone: Path) -> None:
    script = clone / "deploy" / "web.sh"
    first = run(script, "--must", at=clone)
    assert first.returncode == 0, first.stderr
    assert "bytes gzipped" in first.stdout
    assert run(script, "--must", at=clone).stdout == ""
    built = (clone / "web" / "widget" / "dist" / "widget.js").read_bytes()
    assert Build.of(built) == Build.of((ROOT / "web" / "widget" / "dist" / "widget.js").read_bytes())
    source = clone / "web" / "client" / "src" / "errors.ts"
    source.write_text(source.read_text() + "\n// changed\n")
    assert "bytes gzipped" in run(script, "--must", at=clone).stdout


def test_without_the_registry_the_set_up_says_so_in_a_line_and_goes_on(clone: Path) -> None:
    nowhere = {"npm_config_registry": "http://127.0.0.1:9", "npm_config_cache": str(clone / "cache")}
    done = run(clone / "deploy" / "web.sh", at=clone, **nowhere)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert "the npm registry" in done.stderr
    assert not (clone / "web" / "widget" / "dist").exists()
    assert run(clone / "deploy" / "web.sh", "--must", at=clone, **nowhere).returncode == 1


def test_the_lock_names_no_registry() -> None:
    assert "http" not in "".join(
        line for line in (ROOT / "web" / "package-lock.json").read_text().splitlines() if '"resolved"' in line
    )
