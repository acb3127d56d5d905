"""Where the tokenizer's vocabularies lie for tests, so that no test needs the network."""

from __future__ import annotations

import os
from pathlib import Path

_O200K = "fb374d419588a4632f3f557e76b4b70aebbca790"


def repository_root() -> Path:
    """The checkout that this package is installed from."""
    return next(path for path in Path(__file__).resolve().parents if (path / "requirements.lock").exists())


def tiktoken_cache_dir() -> Path:
    """The folder with the vocabularies: the environment's, else the local set-up's; sets `TIKTOKEN_CACHE_DIR`."""
    given = os.environ.get("TIKTOKEN_CACHE_DIR")
    folder = Path(given) if given else repository_root() / ".local" / "tiktoken"
    if (folder / _O200K).exists():
        os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
    return folder
