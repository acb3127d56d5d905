"""What may be uploaded, by its content."""

from collections.abc import AsyncIterator

import puremagic

from docuchat_gateway.documents.domain import PDF, SNIFFED_BYTES, is_pdf
from docuchat_gateway.documents.errors import FileEmpty, FileTooLarge, FileTypeRefused


async def checked(chunks: AsyncIterator[bytes], filename: str, max_bytes: int) -> AsyncIterator[bytes]:
    """A file's bytes, once enough of them are there to tell that it is a PDF. Raises FileEmpty, FileTooLarge, too."""
    head: bytes | None = b""
    size = 0
    async for chunk in chunks:
        size += len(chunk)
        if size > max_bytes:
            raise FileTooLarge(f"The file is larger than {max_bytes // 2**20} MB.", max_bytes=max_bytes)
        if head is None:
            yield chunk
            continue
        head += chunk
        if len(head) >= SNIFFED_BYTES:
            refuse_other_types(head, filename)
            yield head
            head = None
    if size == 0:
        raise FileEmpty
    if head is not None:
        refuse_other_types(head, filename)
        yield head


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
