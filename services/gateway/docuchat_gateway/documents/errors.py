"""What can go wrong with files."""

from datetime import timedelta

from docuchat_common.errors import (
    InvalidInput,
    PayloadTooLarge,
    RateLimited,
    RequestTimeout,
    UnsupportedMedia,
)


class NotMultipart(UnsupportedMedia):
    """Send the file as multipart/form-data: curl -F "file=@document.pdf" -F "title=My Document"."""

    code = "not_multipart"


class MalformedForm(InvalidInput):
    """The multipart body cannot be read."""

    code = "malformed_form"


class FileRequired(InvalidInput):
    """The form has no file: send it in the field `file`, as in curl -F "file=@document.pdf"."""

    code = "file_required"


class PurposeRefused(InvalidInput):
    """Files are taken for the purposes `assistants` and `user_data` alone: documents to ask about."""

    code = "purpose_refused"


class ParameterUnsupported(InvalidInput):
    """A parameter of the request is not supported here; leave it out."""

    code = "file_option_unsupported"


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


class TooManyStreams(RateLimited):
    """Too many progress streams are open; close one first, or ask for the document itself."""

    code = "too_many_streams"


def too_many_streams(limit: int) -> TooManyStreams:
    """The refusal of another progress stream."""
    return TooManyStreams(retry_after=timedelta(seconds=5), limit=limit)


class TooManyRetries(RateLimited):
    """This document was tried again five times within a day; see its `error`, or upload a mended file."""

    code = "too_many_retries"
