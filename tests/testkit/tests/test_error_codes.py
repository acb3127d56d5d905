"""A code tells one thing, everywhere, and every code is in the list."""

import json
from collections import defaultdict

from docuchat_common.http.problems import status_of
from docuchat_testkit.error_codes import LIST, error_classes, error_codes

CLASSES = error_classes()


def test_a_code_belongs_to_one_class() -> None:
    names = defaultdict(list)
    for kind in CLASSES:
        names[kind.code].append(f"{kind.__module__}.{kind.__name__}")
    assert {code: kinds for code, kinds in names.items() if len(kinds) > 1} == {}


def test_every_code_is_in_the_published_list_with_its_status_and_message() -> None:
    assert json.loads(LIST.read_text()) == error_codes(), "run python -m docuchat_testkit.error_codes"


def test_the_message_of_every_code_says_something() -> None:
    for entry in error_codes():
        assert len(entry["detail"]) > 10, entry


def test_what_came_too_late_is_not_called_invalid() -> None:
    late = [kind for kind in CLASSES if any(word in kind.code for word in ("timeout", "slow", "late", "expired"))]
    assert late
    assert [kind.__name__ for kind in late if status_of(kind()) == 422] == []
