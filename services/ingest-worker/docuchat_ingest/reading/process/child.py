"""The child process that opens documents: a request per line on stdin, length-prefixed JSON frames on stdout.

Request: `{"path", "media_type", "max_pages"}`. Frames of an answer: `{"pages": n, "facts": {...}}`, then any number of
`{"texts": [...], "problems": {...}}` with the texts of the next pages in order and the problems of some by their place
in the frame, then `{"done": true}` or `{"failed": code}`. `rss` (MB, peak) rides on the last one. The text is JSON,
never pickle: the child has handled hostile input and is not trusted.
"""

import ctypes
import importlib
import json
import os
import resource
import signal
import struct
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO

from docuchat_ingest.reading.errors import Unreadable
from docuchat_ingest.reading.formats import READERS, OpenDocument

WINDOW_CHARACTERS = 64_000
WINDOW_SECONDS = 0.1
MAX_PAGE_CHARACTERS = 1_000_000
MAX_DOCUMENT_CHARACTERS = 10_000_000

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 of capset(2)."""


def main() -> None:
    memory_bytes = int(sys.argv[1])
    _confine(memory_bytes)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(silence, descriptor)  # a library that prints must not write into our frames
    readers = {media_type: importlib.import_module(module) for media_type, module in READERS.items()}
    send(answers, {"ready": True})
    for line in requests:
        request = json.loads(line)
        try:
            reader = readers.get(request["media_type"])
            if reader is None:
                raise Unreadable("unsupported_media_type")
            with reader.open_document(request["path"], request["max_pages"]) as document:
                _answer(answers, document)
        except Unreadable as reason:
            send(answers, {"failed": reason.code, "rss": _peak_megabytes()})
        except MemoryError:
            send(answers, {"failed": "parser_out_of_memory", "rss": _peak_megabytes()})
            return
        except Exception:  # noqa: BLE001 - see below
            # A parser that trips over a file is the file's fault; which one cannot be told to the user any better.
            send(answers, {"failed": "damaged", "rss": _peak_megabytes()})


def _answer(answers: BinaryIO, document: OpenDocument) -> None:
    send(answers, {"pages": document.page_count, "facts": asdict(document.facts)})
    window: list[str] = []
    problems: dict[int, str] = {}
    size = total = 0
    started = time.monotonic()
    for page in document.pages():
        text = page.text
        if len(text) > MAX_PAGE_CHARACTERS or total + len(text) > MAX_DOCUMENT_CHARACTERS:
            raise Unreadable("too_much_text")
        if page.problem:
            problems[len(window)] = page.problem
        window.append(text)
        size += len(text)
        total += len(text)
        if size >= WINDOW_CHARACTERS or time.monotonic() - started >= WINDOW_SECONDS:
            send(answers, {"texts": window, "problems": problems})
            window, problems, size, started = [], {}, 0, time.monotonic()
    send(answers, {"texts": window, "problems": problems, "done": True, "rss": _peak_megabytes()})


def send(answers: BinaryIO, frame: dict[str, object]) -> None:
    body = json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    answers.write(struct.pack(">I", len(body)))
    answers.write(body)
    answers.flush()


def _confine(memory_bytes: int) -> None:
    """Limit what a hijacked or runaway parser can do, and die with the worker whatever happens to it."""
    libc = ctypes.CDLL(None)
    _drop_privileges(libc)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == 1:
        sys.exit(0)  # the worker died before the line above
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
    os.nice(5)


def _drop_privileges(libc: ctypes.CDLL) -> None:
    """Keep nothing of root's power when the worker runs as root, and gain none.

    The user stays: the file, and in many a place Python itself, can be read by the worker's user alone.
    """
    header, nothing = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capset(header, nothing) or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        sys.exit("the parser cannot drop its privileges")


def _peak_megabytes() -> int:
    # Not getrusage: its peak is handed down from the process that started us.
    with Path("/proc/self/status").open("rb") as status:
        for line in status:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0


if __name__ == "__main__":
    main()
