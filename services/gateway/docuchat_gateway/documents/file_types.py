"""What may be uploaded, by its content."""

import puremagic

from docuchat_gateway.documents.domain import PDF, is_pdf
from docuchat_gateway.documents.errors import FileTypeRefused


def refuse_other_types(head: bytes, filename: str) -> None:
    """Raise FileTypeRefused unless a file that begins with `head` is a PDF."""
    if is_pdf(head):
        return
    try:
        found: str | None = puremagic.from_string(head, mime=True) or None
    except (puremagic.PureError, ValueError):
        found = None
    what = f"it is {found}" if found else "its type is not recognised"
    lies = " although its name ends in .pdf" if filename.lower().endswith(".pdf") else ""
    raise FileTypeRefused(
        f"The content is not a PDF{lies}: {what}. Save or print the document as a PDF and upload that.",
        accepted=[PDF],
        found=found,
    )
