"""The migrations of all schemas."""

import runpy
from pathlib import Path

import pytest

from docuchat_setup.schemas import migration_folders

STEPS = [path for folder in migration_folders().values() for path in sorted(folder.glob("[0-9]*.py"))]


@pytest.mark.parametrize("step", STEPS, ids=lambda path: f"{path.parent.parent.name} {path.stem}")
def test_no_migration_pretends_to_go_back(step: Path) -> None:
    with pytest.raises(NotImplementedError, match="migrations only go forward"):
        runpy.run_path(str(step))["downgrade"]()
