"""What counts as stored is set right by the documents' rows, and what a tenant is charged with by what counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
import structlog

from docuchat_common.ids import uuid7
from docuchat_usage.documents.domain import StoredDocument

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from conftest import World

    from docuchat_testkit.databases import ClonedDatabase


async def charged(database: ClonedDatabase, subject: object) -> dict[str, int]:
    async with database.connect() as connection:
        rows = await connection.fetch("SELECT unit, used FROM usage.budgets WHERE subject_id = $1", str(subject))
    return {row["unit"]: int(row["used"]) for row in rows if row["unit"] in {"documents", "pages", "bytes"}}


def document(world: World, document_id: UUID | None = None, *, pages: int = 4, generation: int = 1) -> StoredDocument:
    return StoredDocument(world.tenant, document_id or uuid7(), world.user, 100, pages, generation)


async def test_a_row_that_cannot_be_corrected_bars_no_other_and_is_logged(
    world: World, database: ClonedDatabase
) -> None:
    rows = [document(world), document(world, pages=99), document(world)]
    async with database.connect() as connection:
        await connection.execute("ALTER TABLE usage.stored_documents ADD CHECK (pages <> 99)")
    with structlog.testing.capture_logs() as logs:
        assert await world.documents.correct(rows) == 2
    assert [line["document_id"] for line in logs] == [str(rows[1].document_id)]
    assert await charged(database, world.tenant) == {"documents": 2, "pages": 8, "bytes": 200}
    assert await world.documents.correct([rows[0], rows[2]]) == 0, "these were counted so"


@pytest.mark.parametrize("later", ["generation", "deletion"])
async def test_what_was_heard_long_ago_yields_to_the_row_and_what_was_heard_just_now_stands(
    world: World, database: ClonedDatabase, later: str
) -> None:
    row = document(world)
    said = replace(row, pages=9, generation=5) if later == "generation" else replace(row, deleted=True)
    await world.documents.store(said)
    before = await charged(database, world.tenant)
    assert await world.documents.correct([row]) == 0
    assert await charged(database, world.tenant) == before
    world.clock.advance(timedelta(hours=1))
    assert await world.documents.correct([row]) == 1
    assert await charged(database, world.tenant) == {"documents": 1, "pages": 4, "bytes": 100}
    await world.documents.store(replace(row, pages=6, generation=2))
    assert (await charged(database, world.tenant))["pages"] == 6


async def test_what_tenants_and_users_are_charged_with_is_the_sum_of_their_documents(
    world: World, database: ClonedDatabase
) -> None:
    await world.set_tokens(10_000, world.user)
    await world.documents.correct([document(world), document(world, pages=5)])
    async with database.connect() as connection:
        for unit in ("documents", "pages", "bytes"):
            await connection.execute(
                "INSERT INTO usage.budgets (tenant_id, subject_type, subject_id, unit, used, period_start, period_end)"
                " VALUES ($1, 'user', $2, $3, 1, '-infinity', 'infinity')",
                world.tenant, str(world.user), unit,
            )  # fmt: skip
        await connection.execute("UPDATE usage.budgets SET used = 1 WHERE unit = 'pages'")
        await connection.execute("UPDATE usage.budgets SET used = 20171 WHERE unit IN ('bytes', 'tokens')")
    assert await world.documents.recount(0) == (1, None)
    right = {"documents": 2, "pages": 9, "bytes": 200}
    assert [await charged(database, one) for one in (world.tenant, world.user)] == [right, right]
    assert await world.counted() == (20171, 0), "what is used up is not what is stored"
    assert await world.documents.recount(0) == (0, None)
    assert await world.documents.recount(world.tenant) == (0, None)


async def test_a_tenant_that_cannot_be_recounted_bars_no_other(
    open_world: Callable[..., AbstractAsyncContextManager[World]], database: ClonedDatabase
) -> None:
    async with open_world() as first, open_world() as second:
        for world in (first, second):
            await world.documents.correct([document(world)])
        async with database.connect() as connection:
            await connection.execute("UPDATE usage.budgets SET used = 20171 WHERE unit = 'bytes'")
            await connection.execute(
                f"ALTER TABLE usage.budgets ADD CHECK (tenant_id <> {first.tenant} OR used <> 100) NOT VALID"
            )
        with structlog.testing.capture_logs() as logs:
            assert await first.documents.recount(0) == (1, None)
        assert [(line["event"], line["tenant_id"]) for line in logs] == [
            ("holdings.not_corrected", first.tenant),
            ("holdings.recounted", second.tenant),
        ]
