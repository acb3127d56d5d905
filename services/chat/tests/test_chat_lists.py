"""The list of one's chats: pinned ones first, archived ones apart, and what a search found in which."""

from __future__ import annotations

from typing import Any

import pytest

from docuchat_chat.conversations.domain import Chat, ChatChange, ChatFilter, ChatPosition
from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.conversations.snippets import LENGTH, snippet_of
from docuchat_common.db.queries import load_queries
from docuchat_common.events.catalogue import AuditRecorded
from docuchat_common.ids import ChatbotId, uuid7
from docuchat_knowledge.folding import fold

PIN, UNPIN = ChatChange(pinned=True), ChatChange(pinned=False)
ARCHIVE = ChatChange(archived=True)


async def make(world: Any, *titles: str) -> dict[str, Any]:
    return {title: (await world.conversations.create(world.caller, title)).id for title in titles}


async def listed(world: Any, which: ChatFilter = ChatFilter(), *, limit: int = 2) -> list[str | None]:  # noqa: B008
    """All pages of so many chats."""
    titles: list[str | None] = []
    after: ChatPosition | None = None
    while True:
        page: list[Chat] = await world.conversations.list_chats(world.caller, limit, after, which=which)
        titles += [chat.title for chat in page]
        if len(page) < limit:
            return titles
        after = (page[-1].pinned, page[-1].updated_at, page[-1].id)


async def test_pinned_chats_stand_first_and_archived_ones_apart_on_all_pages(world: Any) -> None:
    ids = await make(world, "a", "b", "c", "d", "e")
    for title, change in (("b", PIN), ("d", PIN), ("a", ARCHIVE), ("d", PIN)):
        changed = await world.conversations.change(world.caller, ids[title], change)
        assert (changed.pinned, changed.archived) == (title != "a", title == "a")
    assert await listed(world) == ["d", "b", "e", "c"], "pinning is no use: the order of use stays"
    assert await listed(world, ChatFilter(archived=True)) == ["a"]
    assert await listed(world, ChatFilter(pinned=True)) == ["d", "b"]
    assert await listed(world, ChatFilter(pinned=False)) == ["e", "c"]
    chatbot = ChatbotId(uuid7())
    await world.rows("UPDATE chat.chats SET chatbot_id = $1 WHERE id = $2", chatbot, ids["c"])
    assert await listed(world, ChatFilter(chatbot_id=chatbot)) == ["c"]
    for query, titles in (("c", ["c"]), ("d", [])):
        found = await world.conversations.list_chats(world.caller, 9, None, query, which=ChatFilter(chatbot_id=chatbot))
        assert [chat.title for chat in found] == titles
    await world.conversations.change(world.caller, ids["d"], UNPIN)
    await world.conversations.change(world.caller, ids["a"], ChatChange(archived=False))
    assert await listed(world) == ["b", "e", "d", "c", "a"]

    with pytest.raises(ChatNotFound):
        await world.conversations.change(world.new_caller(), ids["a"], PIN)
    written = [e.detail for e in await world.events() if isinstance(e, AuditRecorded) and e.action == "chat.change"]
    assert written == ["pinned", "pinned", "archived", "pinned", "pinned", "archived"]


async def test_a_title_of_the_users_own_is_marked_as_such(world: Any) -> None:
    await world.ask("How long is the warranty?", session_id="s")
    own = (await make(world, "mine"))["mine"]
    rows = {row["id"]: row["title_by"] for row in await world.rows("SELECT id, title_by FROM chat.chats")}
    assert sorted(rows.values()) == ["question", "user"] and rows[own] == "user"
    (asked,) = (chat_id for chat_id in rows if chat_id != own)
    await world.conversations.change(world.caller, asked, ChatChange(title="  Warranty\u202e\n"))
    assert await world.rows("SELECT FROM chat.chats WHERE title = 'Warranty' AND title_by = 'user'")


async def test_a_search_shows_what_it_found_made_harmless(world: Any) -> None:
    ids = await make(world, "Kites", "Notes")
    text = "a " * 300 + "![x](http://e.x/p) The می‌شود كتاب of <b>kites</b> is here. " + "z " * 300
    await world.conversations.add_message(world.caller, ids["Notes"], text, {})
    found = await world.conversations.list_chats(world.caller, 9, None, "KITES")
    matches = {chat.title: chat.match for chat in found}
    assert (matches["Kites"].message_id, matches["Kites"].snippet) == (None, "Kites")
    snippet = matches["Notes"].snippet
    assert matches["Notes"].message_id is not None and "kites" in snippet and len(snippet) <= LENGTH + 1
    assert "![" not in snippet and "<b>" not in snippet
    (chat,) = await world.conversations.list_chats(world.caller, 9, None, "میشود کتاب")
    assert "می‌شود كتاب" in chat.match.snippet, "as it was written"


@pytest.mark.parametrize(
    ("text", "needle", "expected"),
    [
        ("one two three", "two", "one two three"),
        ("one two three", "wo th", "one two three"),
        ("nothing of it", "kite", "nothing of it"),
        ("x" * 500 + " kite", "kite", "…kite"),
        ("", "kite", ""),
    ],
)
def test_a_snippet_is_the_words_around_the_first_match(text: str, needle: str, expected: str) -> None:
    assert snippet_of(text, fold(needle)) == expected


async def test_the_list_is_read_from_its_index(world: Any) -> None:
    await world.rows(
        "INSERT INTO chat.chats (id, tenant_id, subject_type, subject_id, title) "
        "SELECT uuidv7(), 1, 'user', $1, 'x' FROM generate_series(1, 3000)",
        world.caller.subject_id,
    )
    await world.rows("ANALYZE chat.chats")
    queries = load_queries("docuchat_chat.conversations")
    values = {"tenant_id": 1, "subject_id": world.caller.subject_id, "archived": False, "row_limit": 21}
    order = queries.driver_adapter.var_sorted["list_chats"]
    plan = await world.rows("EXPLAIN " + queries.list_chats.sql, *(values.get(name) for name in order))
    lines = "\n".join(row[0] for row in plan)
    assert "chats_in_order" in lines and "Sort" not in lines
