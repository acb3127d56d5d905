"""What people type: names that stand in a line which others are shown, and digits of other keyboards."""

import re
from typing import Final

UNSAFE: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""Controls, and the marks that reorder or hide what follows: U+202E turns "fdp.exe" into "exe.pdf"."""


def one_line(text: str) -> str:
    """`text` without those, and with single spaces."""
    return " ".join(UNSAFE.sub(" ", text).split())


_DIGITS: Final = {zero + value: str(value) for zero in (0x0660, 0x06F0) for value in range(10)}


def western_digits(given: object) -> object:
    """A text with Arabic and Persian digits as 0 to 9; anything else as it is."""
    return given.translate(_DIGITS) if isinstance(given, str) else given
