"""Errors of documents."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound


class DocumentNotFound(NotFound):
    """There is no such document."""

    code = "document_not_found"


class DocumentNotFailed(Conflict):
    """Only a failed document can be retried."""

    code = "document_not_failed"
