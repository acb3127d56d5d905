"""Files in answers."""

import re
from urllib.parse import quote


def content_disposition(filename: str) -> str:
    """An attachment with any name, safe in a header (RFC 6266, RFC 8187)."""
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
