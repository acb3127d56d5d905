"""A service's process without the seconds of its imports: forked off a process that has imported the service."""

from __future__ import annotations

import multiprocessing
import os
import re
import runpy
import sys
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

_SERVICE = re.compile(r"docuchat_\w+\.app")
_PROCESSES = multiprocessing.get_context("forkserver")


def start_module(
    module: str, *arguments: str, environment: Mapping[str, str], output: Path | None = None
) -> BaseProcess:
    """`python -m module arguments`, as a process of its own, with just this environment.

    What it prints is added to `output`, else it goes where the caller's goes. Modules see the environment when they are
    run, not when they are imported.
    """
    # heard when the first is started: so it names whatever of the services a long session may start later
    _PROCESSES.set_forkserver_preload([f"{module}.app", *filter(_SERVICE.fullmatch, list(sys.modules))])
    process = _PROCESSES.Process(target=_run, args=(module, arguments, dict(environment), output), daemon=True)
    process.start()
    return process


def _run(module: str, arguments: tuple[str, ...], environment: dict[str, str], output: Path | None) -> None:
    if output is not None:
        file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(file, 1)
        os.dup2(file, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)
