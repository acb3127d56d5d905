"""A build of the widget: one script, under a name that says its version and what is in it."""

import base64
import gzip
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final, Self

LARGEST: Final = 2**20
_NAME: Final = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}-[0-9a-f]{24}", re.ASCII)
_FIRST_LINE: Final = re.compile(rb"/\*! DocuChat widget (\d{1,4}\.\d{1,4}\.\d{1,4}) \*/\n", re.ASCII)


@dataclass(frozen=True, slots=True)
class Build:
    """A script with what is said of it; nobody can give another script the same name."""

    name: str
    version: str
    integrity: str
    """As a page's `integrity` says it (W3C Subresource Integrity)."""
    script: bytes = field(repr=False)
    packed: bytes = field(repr=False)
    """The same, gzipped."""

    @classmethod
    def of(cls, script: bytes) -> Self:
        """Raises ValueError for what is no build: its first line says of which version it is."""
        first = _FIRST_LINE.match(script)
        if first is None or len(script) > LARGEST:
            raise ValueError("the script does not begin with the version of the widget, or is too large")
        version, digest = first[1].decode(), hashlib.sha384(script)
        return cls(
            name=f"{version}-{digest.hexdigest()[:24]}",
            version=version,
            integrity=f"sha384-{base64.b64encode(digest.digest()).decode()}",
            script=script,
            packed=gzip.compress(script, mtime=0),
        )


def is_name(text: str) -> bool:
    """Whether a build could have this name."""
    return _NAME.fullmatch(text) is not None
