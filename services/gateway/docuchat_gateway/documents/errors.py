"""What can go wrong with files."""

from docuchat_common.errors import (
    Conflict,
    InvalidInput,
    NotFound,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMedia,
    UpstreamUnavailable,
)


class NotMultipart(UnsupportedMedia):
    """Send the file as multipart/form-data: curl -F "file=@document.pdf" -F "title=My Document"."""

    code = "not_multipart"


class MalformedForm(InvalidInput):
    """The multipart body cannot be read."""

    code = "malformed_form"


class FileMissing(InvalidInput):
    """The form has no file: send it in the field `file`, as in curl -F "file=@document.pdf"."""

    code = "file_missing"


class FileEmpty(InvalidInput):
    """The file is empty."""

    code = "file_empty"


class FileTooLarge(PayloadTooLarge):
    """The file is larger than is accepted."""

    code = "file_too_large"


class FileTypeRefused(UnsupportedMedia):
    """The content of the file is not of an accepted type: PDF (application/pdf)."""

    code = "file_type_refused"


class UploadTooSlow(RequestTimeout):
    """The upload took too long."""

    code = "upload_too_slow"


class IdempotencyKeyInvalid(InvalidInput):
    """An Idempotency-Key has 1 to 255 visible ASCII characters."""

    code = "idempotency_key_invalid"


class IdempotencyKeyReused(InvalidInput):
    """This Idempotency-Key was used for another request."""

    code = "idempotency_key_reused"


class IdempotencyKeyRunning(Conflict):
    """A request with this Idempotency-Key is still running; try again when it has ended."""

    code = "idempotency_key_running"


class BlobMissing(NotFound):
    """The content of this document is not in the blob store."""

    code = "content_missing"


class RangeUnsatisfiable(InvalidInput):
    """The range lies outside of the file."""

    code = "range_unsatisfiable"


class BlobStoreUnavailable(UpstreamUnavailable):
    """The blob store does not answer; try again shortly."""

    code = "blob_store_unavailable"
