"""Errors of documents."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound


class DocumentNotFound(NotFound):
    """There is no such document."""

    code = "document_not_found"


class DocumentNotFailed(Conflict):
    """Only a failed document can be retried."""

    code = "document_not_failed"


class UploadAbandoned(Conflict):
    """The upload took too long and was given up; upload the file again."""

    code = "upload_abandoned"


class PassageNotFound(NotFound):
    """There is no such passage: its document was deleted or read again since."""

    code = "passage_not_found"


class PageNotFound(NotFound):
    """The document has no such page."""

    code = "page_not_found"
