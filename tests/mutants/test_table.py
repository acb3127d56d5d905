"""The table of mutants fits the product as it is: whoever changes a line finds out at once that the table quotes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from .run import ROOT, TABLE, mutants_of

_MUTANTS = mutants_of(TABLE)


def names_in(file: Path) -> set[str]:
    """The tests of a file, as pytest names them, without parameters."""
    names = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}::{inner.name}" for inner in node.body if hasattr(inner, "name")}
        elif hasattr(node, "name"):
            names.add(node.name)
    return names


def test_every_line_stands_where_the_table_says() -> None:
    assert {mutant.name: fault for mutant in _MUTANTS if (fault := mutant.fault(ROOT))} == {}


def test_every_test_that_the_table_names_is_there() -> None:
    named = {test for mutant in _MUTANTS for test in mutant.tests}
    files = {test.split("::")[0] for test in named}
    known = {f"{file}::{name}" for file in files for name in names_in(ROOT / file)}
    assert {re.sub(r"\[.*$", "", test) for test in named if "::" in test} - known == set()
