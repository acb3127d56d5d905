"""Errors of exports."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound


class ExportNotFound(NotFound):
    """There is no such export, or it has expired: ask for another."""

    code = "export_not_found"


class ExportRunning(Conflict):
    """Such an export is being made; `export_id` names it. Wait until it is ready."""

    code = "export_running"


class ExportNotReady(Conflict):
    """The archive is not there yet, or could not be made; see its `state`."""

    code = "export_not_ready"
