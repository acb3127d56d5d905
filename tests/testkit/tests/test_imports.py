"""Tests keep the services as far apart as the services keep themselves, which the linter sees to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_SERVICES = Path(__file__).parents[3] / "services"


def imported(file: Path) -> Iterator[str]:
    """The dotted names that a file imports, at its head or later."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_tests_of_a_service_import_no_other_service() -> None:
    package_of = {package.parent.name: package.name for package in _SERVICES.glob("*/docuchat_*")}
    assert len(package_of) == 5
    crossings = set()
    for service in package_of:
        others = {name for other in package_of if other != service for name in (package_of[other], f"services.{other}")}
        for file in (_SERVICES / service / "tests").rglob("*.py"):
            names = {name for name in imported(file) if any(f"{name}.".startswith(f"{other}.") for other in others)}
            crossings |= {(str(file.relative_to(_SERVICES)), name) for name in names}
    assert crossings == set()
