"""The logs of the local product: bounded on disk, however long it runs."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LARGEST_BYTES = 20 * 1024 * 1024
"""A log that has grown past this becomes `<name>.log.1`, in the place of the one before."""
_LOOK_SECONDS = 5.0


def rotate(log: Path, largest: int = LARGEST_BYTES) -> bool:
    """Copy a large log aside and empty it; True when that was done.

    Its writer appends (O_APPEND), so it goes on at the new beginning; what is written between the two steps is lost.
    """
    with suppress(OSError):
        if log.stat().st_size > largest:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            with log.open("r+b") as file:
                file.truncate()
            return True
    return False


@contextmanager
def bounded_logs(folder: Path, largest: int = LARGEST_BYTES, look_seconds: float = _LOOK_SECONDS) -> Iterator[None]:
    """Keep every log in `folder` bounded, in a thread, until the block is left."""
    closing = threading.Event()

    def look() -> None:
        while not closing.wait(look_seconds):
            for log in folder.glob("*.log"):
                rotate(log, largest)

    thread = threading.Thread(target=look, name="log-rotation", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()
