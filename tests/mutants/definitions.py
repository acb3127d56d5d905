"""Which function or view of a migration is in force: one that a later revision defines again is never run by a test."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_DEFINITION = re.compile(r"CREATE (?:OR REPLACE )?(?:MATERIALIZED )?(?:FUNCTION|VIEW) ([\w.{}]+)")
_DROP = re.compile(r"DROP (?:MATERIALIZED )?(?:FUNCTION|VIEW) (?:IF EXISTS )?([\w.{}]+)")
_QUOTED_BODY = re.compile(r"AS\s+(\$\w*\$)")


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or view: where it stands in its file, up to the `;` that ends it."""

    name: str
    begin: int
    end: int


def definitions_in(text: str) -> list[Definition]:
    """All functions and views that an SQL or Python file creates."""
    return [
        Definition(found[1], found.start(), _end_of_definition(text, found.end()))
        for found in _DEFINITION.finditer(text)
    ]


def _end_of_definition(text: str, begin: int) -> int:
    end = text.find(";", begin)
    if quoted := _QUOTED_BODY.search(text, begin, end if end >= 0 else len(text)):
        closing = text.find(quoted[1], quoted.end())
        end = text.find(";", closing)
    elif "BEGIN ATOMIC" in text[begin:end]:
        end = text.find(";", text.find("\nEND", begin))
    return len(text) if end < 0 else end


def revisions(folder: Path) -> list[list[Path]]:
    """The files of each revision of a migrations folder, in the order in which they are applied.

    A revision takes the SQL files that it names. Raises ValueError for an SQL file that none names.
    """
    files = [[path] for path in sorted(folder.glob("[0-9]*.py"))]
    for path in sorted(folder.glob("sql/*.sql")):
        named, version = path.stem.rsplit("_v", 1)
        by_name = re.compile(rf"""["']{path.stem}(\.sql)?["']""")
        by_parts = re.compile(rf"""["']{named}["'](?=[\s\S]*\}}_v{version}\.sql)""")
        ways = (by_name, by_parts)
        users = [revision for revision in files if any(way.search(revision[0].read_text()) for way in ways)]
        if not users:
            raise ValueError(f"No revision names {path}.")
        users[0].append(path)
    return files


def replaced_by(file: Path, text: str) -> Path | None:
    """The later revision that defines again, or drops, the function or view in which `text` stands; None without one.

    `file` is a migration or SQL of one; any other file has nothing that could be replaced.
    """
    folder = file.parent.parent if file.parent.name == "sql" else file.parent
    if folder.name != "migrations":
        return None
    content = file.read_text()
    begin = content.index(text)
    end = begin + len(text)
    names = {defined.name for defined in definitions_in(content) if defined.begin < end and begin < defined.end}
    order = revisions(folder)
    own = next(position for position, files in enumerate(order) if file in files)
    for files in order[own + 1 :]:
        for later in files:
            made = later.read_text()
            if names & {*(defined.name for defined in definitions_in(made)), *_DROP.findall(made)}:
                return files[0]
    return None
