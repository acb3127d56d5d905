"""The table of mutants fits the product as it is: whoever changes a line finds out at once that the table quotes it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from .definitions import definitions_in, replaced_by
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


def test_no_line_stands_in_a_function_that_a_later_revision_defines_again() -> None:
    sound = [mutant for mutant in _MUTANTS if mutant.fault(ROOT) is None]
    replaced = {mutant.name: replaced_by(ROOT / mutant.file, mutant.text) for mutant in sound}
    assert {name: revision.name for name, revision in replaced.items() if revision} == {}


@pytest.mark.parametrize("way", ["CREATE OR REPLACE FUNCTION s.f() RETURNS int RETURN 2;", "DROP FUNCTION s.f;"])
def test_a_replaced_function_is_known_whichever_file_it_stands_in(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "migrations"
    (folder / "sql").mkdir(parents=True)
    first, second = folder / "sql" / "f_v1.sql", folder / "sql" / "g_v1.sql"
    first.write_text(
        "CREATE FUNCTION s.f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$;\n"
        "CREATE FUNCTION s.kept() RETURNS int RETURN 1 + 1;\n"
    )
    second.write_text(way)
    (folder / "0001_first.py").write_text("""for name in ("f", "other"): execute(f"{name}_v1.sql")""")
    (folder / "0002_second.py").write_text("""execute("g_v1.sql")""")
    assert replaced_by(first, "RETURN 1; END") == folder / "0002_second.py"
    assert replaced_by(first, "RETURN 1 + 1") is None
    assert replaced_by(second, way) is None


def test_a_definition_ends_where_its_statement_does() -> None:
    bodies = (
        "CREATE FUNCTION a() RETURNS int LANGUAGE sql AS $b$ SELECT 1; SELECT 2 $b$ STABLE",
        "CREATE OR REPLACE FUNCTION a() RETURNS int RETURN CASE WHEN true THEN 1 END",
        "CREATE FUNCTION a() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2;\nEND",
        "CREATE VIEW a AS SELECT 1",
    )
    for body in bodies:
        (found,) = definitions_in(f"SELECT 1; {body};\nGRANT SELECT ON a TO b;")
        assert (found.name, found.begin, found.end) == ("a", 10, 10 + len(body)), body
