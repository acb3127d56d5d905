"""The recipes of `docs/recipes`, as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

from docuchat_testkit.vocabulary import repository_root

_HEADING = re.compile(r"^## ", re.MULTILINE)


def page(name: str) -> Path:
    """The page of recipes of this name."""
    return repository_root() / "docs" / "recipes" / f"{name}.md"


def printed(name: str, heading: str, kind: str) -> list[str]:
    """The fenced blocks of a kind under a heading of a page, each without its fence."""
    sections = {part.partition("\n")[0]: part for part in _HEADING.split(page(name).read_text())[1:]}
    return re.findall(rf"^```{kind}\n(.*?)^```", sections[heading], re.MULTILINE | re.DOTALL)


def headings(name: str) -> list[str]:
    """The headings of a page, in their order."""
    return [part.partition("\n")[0] for part in _HEADING.split(page(name).read_text())[1:]]
