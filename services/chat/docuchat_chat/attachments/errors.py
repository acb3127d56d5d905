"""Errors of attachments."""

from __future__ import annotations

from docuchat_common.errors import NotFound


class AttachmentNotFound(NotFound):
    """There is no such attachment of yours; upload the file again by `POST /v1/attachments`."""

    code = "attachment_not_found"
