"""tiktoken's vocabularies, made available without its network address.

tiktoken keeps each vocabulary in a cache folder under the SHA-1 of the address that it comes from, and checks the
SHA-256 of the content on every load. A folder that holds both files works with no network at all.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from docuchat_local.errors import SetupFailed


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """One encoding: where tiktoken would fetch it and what it must hash to."""

    name: str
    address: str
    sha256: str

    @property
    def cache_name(self) -> str:
        return hashlib.sha1(self.address.encode(), usedforsecurity=False).hexdigest()

    def is_in(self, folder: Path) -> bool:
        with suppress(OSError):
            return hashlib.sha256((folder / self.cache_name).read_bytes()).hexdigest() == self.sha256
        return False


_ENCODINGS = "https://openaipublic.blob.core.windows.net/encodings"
VOCABULARIES = (
    Vocabulary(
        "cl100k_base",
        f"{_ENCODINGS}/cl100k_base.tiktoken",
        "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
    ),
    Vocabulary(
        "o200k_base",
        f"{_ENCODINGS}/o200k_base.tiktoken",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    ),
)
_WHEEL_FOLDER = "llama_index/core/_static/tiktoken_cache"
_NETWORK_TIMEOUT_SECONDS = 5
_DOWNLOAD_TIMEOUT_SECONDS = 300


def prepare_vocabulary(
    folder: Path,
    lock: Path,
    environment: Mapping[str, str] = os.environ,
    vocabularies: Sequence[Vocabulary] = VOCABULARIES,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Return a folder from which tiktoken loads both vocabularies offline, filling `folder` when there is none yet.

    Looks at `TIKTOKEN_CACHE_DIR` first, then at `folder`, then fetches: the wheel named in `lock` (pip checks its
    hash), else tiktoken's own address.
    """
    given = environment.get("TIKTOKEN_CACHE_DIR")
    if given and _is_complete(Path(given), vocabularies):
        return Path(given)
    if _is_complete(folder, vocabularies):
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    say("fetching tiktoken's vocabularies, once; that can take a minute")
    wheel_fault = _take_from_wheel(folder, lock, vocabularies)
    if wheel_fault and not _take_from_network(folder, vocabularies):
        raise SetupFailed(
            "tiktoken's vocabularies could not be fetched, neither from its own address nor from the wheel in "
            f"{lock.name}: {wheel_fault}. Put the files {', '.join(v.cache_name for v in vocabularies)} into a folder "
            "and set TIKTOKEN_CACHE_DIR to it."
        )
    if not _is_complete(folder, vocabularies):
        raise SetupFailed(f"the vocabulary files in {folder} do not have the content that tiktoken expects")
    return folder


def _is_complete(folder: Path, vocabularies: Sequence[Vocabulary]) -> bool:
    return all(vocabulary.is_in(folder) for vocabulary in vocabularies)


def _take_from_wheel(folder: Path, lock: Path, vocabularies: Sequence[Vocabulary]) -> str | None:
    """Unpack the vocabularies from the locked wheel; what went wrong, or None."""
    with tempfile.TemporaryDirectory() as download:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--require-hashes", "--requirement", str(lock), "--dest", download]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT_SECONDS)
        except subprocess.CalledProcessError as fault:
            return str(fault.stderr).strip().splitlines()[-1] if fault.stderr else "pip failed"
        except (OSError, subprocess.TimeoutExpired) as fault:
            return str(fault)
        for wheel in Path(download).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for vocabulary in vocabularies:
                    content = archive.read(f"{_WHEEL_FOLDER}/{vocabulary.cache_name}")
                    _write(folder / vocabulary.cache_name, content)
    return None


def _take_from_network(folder: Path, vocabularies: Sequence[Vocabulary]) -> bool:
    for vocabulary in vocabularies:
        try:
            # an https address of ours, whose content is checked by its hash
            with urllib.request.urlopen(vocabulary.address, timeout=_NETWORK_TIMEOUT_SECONDS) as response:  # noqa: S310
                _write(folder / vocabulary.cache_name, response.read())
        except OSError:
            return False
    return True


def _write(path: Path, content: bytes) -> None:
    """Write so that a reader sees the old file or the whole new one."""
    partial = path.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(path)
