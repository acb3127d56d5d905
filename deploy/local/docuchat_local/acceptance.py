"""Whether every service accepts its settings, asked before anything is started.

`python -m docuchat_local.acceptance` is asked in a process of its own, which has no environment of this one and may
import the services: standard input names their environments, standard output what they refuse.
"""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from docuchat_local.environment import ServiceEnvironments
from docuchat_local.errors import BadEnvironment, SetupFailed
from docuchat_local.services import SERVICES
from docuchat_setup.errors import SetupError
from docuchat_setup.settings import Environment

_SECONDS = 60
_PREFIX = "cannot start: "


def require_accepted(environments: ServiceEnvironments, accepted: Path) -> None:
    """Raise BadEnvironment that names every setting that a service would refuse.

    `accepted` remembers what was accepted last, so that a start with the same settings asks nobody: should the code
    have become stricter meanwhile, the service still refuses them itself.
    """
    try:
        Environment(environments.settings).stream_limits()
    except SetupError as fault:
        raise BadEnvironment(str(fault)) from fault
    for entry in SERVICES:
        environments.process_count(entry.service)
    asked = json.dumps({entry.module: environments.for_service(entry.service, entry.port) for entry in SERVICES})
    digest = hashlib.sha256(asked.encode()).hexdigest()
    if accepted.exists() and accepted.read_text() == digest:
        return
    done = subprocess.run(
        [sys.executable, "-m", __name__], input=asked, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        raise SetupFailed(f"the services' settings could not be read:\n{done.stderr.strip()[-2000:]}")
    if refused := json.loads(done.stdout):
        told = (f"{fault} ({', '.join(names)})" for fault, names in refused.items())
        raise BadEnvironment("settings are refused:\n" + "\n".join(told))
    accepted.write_text(digest)


def refusals(environments: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """What services refuse of their environments, by module: each fault in a line, with who found it."""
    from docuchat_common.settings import load_settings

    found: dict[str, list[str]] = {}
    for module, environment in environments.items():
        os.environ.clear()
        os.environ.update(environment)
        told = io.StringIO()
        with contextlib.suppress(SystemExit), contextlib.redirect_stderr(told):
            load_settings(import_module(f"{module}.settings").Settings)
        for line in told.getvalue().splitlines():
            found.setdefault(line.removeprefix(_PREFIX), []).append(module.removeprefix("docuchat_"))
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(refusals(json.load(sys.stdin))))
