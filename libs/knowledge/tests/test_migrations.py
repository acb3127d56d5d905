import re
from pathlib import Path

import docuchat_knowledge

FOLDER = Path(docuchat_knowledge.__file__).parent / "migrations"


def test_the_migrations_stand_in_one_line_and_are_named_by_their_number():
    """Two that take the same number at the same time, each on its own branch, break every database."""
    found = []
    for path in sorted(FOLDER.glob("[0-9]*.py")):
        text = path.read_text("utf-8")
        numbers = [
            re.search(rf'^{name} = (?:"(\d+)"|None)$', text, re.MULTILINE) for name in ("revision", "down_revision")
        ]
        assert all(numbers), path.name
        found.append((path.name[:4], *(number[1] for number in numbers)))
    assert found == [(f"{n:04}", f"{n:04}", f"{n - 1:04}" if n > 1 else None) for n in range(1, len(found) + 1)]
