"""The folders in which files lie while they are read."""

import os
import shutil
import tempfile
from pathlib import Path


def remove_orphans(prefix: str) -> None:
    """Remove the work folders of workers that were killed: a tenant's file must not outlive its document."""
    for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        owner = folder.name.removeprefix(prefix).partition("-")[0]
        if owner != str(os.getpid()) and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
