"""Names that people give: what may stand in a line that others are shown."""

import re
from typing import Final

UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Controls, and the marks that reorder or hide what follows: U+202E turns "fdp.exe" into "exe.pdf"."""


def one_line(text: str) -> str:
    """`text` without those, and with single spaces."""
    return " ".join(UNSAFE.sub(" ", text).split())
