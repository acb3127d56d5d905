"""Lists on a terminal of eighty columns."""

from __future__ import annotations

import io
import uuid
from datetime import datetime
from typing import Any

import pytest
from rich.console import Console

from docuchat_client.cli import auditing
from docuchat_client.cli.session import screen, table
from docuchat_client.rendering import moment, zoned

ID = str(uuid.UUID("0199a1b2-c3d4-7e5f-8a6b-1c2d3e4f5a6b"))
MOMENT = "2026-11-22T08:06:00Z"


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    out = io.StringIO()
    monkeypatch.setattr(screen, "out", Console(file=out, force_terminal=True, no_color=True, width=80, soft_wrap=True))
    return out


SESSION = {"device": "docuchat-client", "address": "203.0.113.7", "last_used_at": MOMENT, "expires_at": MOMENT}
KEY = {"name": "nightly", "scopes": ["documents.read", "chats.use"], "role": "member", "expires_at": MOMENT}
USER = {"email": "somebody@example.com", "username": None, "name": "Some Body", "role": "member", "is_active": True}


@pytest.mark.parametrize(
    ("item", "whole"),
    [
        (SESSION | {"is_current": True, "id": ID}, ["docuchat-client", "203.0.113.7", "yes", "…3e4f5a6b"]),
        (KEY | {"prefix": f"dck_{ID}", "id": ID}, ["nightly", "documents.read, chats.use", "…3e4f5a6b"]),
        (USER | {"last_login_at": MOMENT, "id": ID}, ["somebody@example.com", "yes", "…3e4f5a6b"]),
    ],
)
def test_one_of_a_list_is_one_line(shown: io.StringIO, item: dict[str, Any], whole: list[str]) -> None:
    table([item, item], as_json=False)
    heading, *lines = shown.getvalue().splitlines()
    assert len(lines) == 2 and max(map(len, lines)) <= 80, shown.getvalue()
    assert all(cell in lines[0] for cell in whole), lines[0]
    assert "_" not in heading and "username" not in heading
    time, _, zone = moment(datetime.fromisoformat(MOMENT)).rpartition(" ")
    assert (f"({zone})" in heading) is (time in lines[0]) and zone not in lines[0]


def test_times_of_several_zones_each_name_theirs() -> None:
    summer, winter = "2026-07-01 12:00 CEST", "2026-12-01 12:00 CET"
    assert zoned("expires", [summer, winter]) == ["expires", summer, winter]
    assert zoned("expires", [winter, "", winter]) == ["expires (CET)", winter[:-4], "", winter[:-4]]
    assert zoned("name", ["", "CET"]) == ["name", "", "CET"] and zoned("name", [""]) == ["name", ""]


def test_a_qr_code_is_drawn_where_it_can_be_scanned(shown: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    content = f"otpauth://totp/DocuChat:{'somebody' * 4}%40example.com?secret={'ABCD' * 8}&issuer=DocuChat"
    assert screen.qr_code(content)
    lines = shown.getvalue().splitlines()
    assert len({len(line) for line in lines}) == 1 and len(lines[0]) <= 60 and len(lines) <= 30
    assert set("".join(lines)) == set(" ▀▄█")
    narrow = Console(file=io.StringIO(), force_terminal=True, width=40)
    for elsewhere in (narrow, Console(file=io.StringIO(), width=80)):
        monkeypatch.setattr(screen, "out", elsewhere)
        assert not screen.qr_code(content)


def test_an_entry_of_the_audit_log_is_one_line_with_names(shown: io.StringIO) -> None:
    entry = {"seq": 7, "at": MOMENT, "actor_type": "user", "actor_id": ID, "action": "collection.change"}
    entry |= {"object_type": "collection", "object_id": ID.replace("5a6b", "aaaa"), "result": "done", "detail": None}
    auditing._show_entries([entry, entry | {"result": "refused", "actor_id": None}], {ID: "ann@example.com"})
    heading, first, second = shown.getvalue().splitlines()
    assert max(map(len, (first, second))) <= 80
    assert "ann@example.com" in first and "collection.change" in first and "done" not in first
    assert "refused" in second and "actor" in heading


def test_the_id_that_commands_take_stays_whole(shown: io.StringIO) -> None:
    row = (ID, "A report of the year with a name that does not fit", "1.2 MB", "ready, 2 pages, 3 chunks", "2026")
    screen.rows(("id", "title", "size", "state", "uploaded"), [row])
    screen.rows(("id", "title"), [])
    _, line, _ = shown.getvalue().splitlines()
    assert line.startswith(f"{ID}  ") and "ready, 2 pages, 3 chunks" in line
