import uuid

import pytest

from docuchat_common.ids import ChunkId, TenantId
from docuchat_knowledge.documents.errors import PageNotFound, PassageNotFound
from docuchat_knowledge.documents.passages import PassageReader
from docuchat_knowledge.jobs.domain import ChunkDraft
from docuchat_knowledge.jobs.repository import WorkerStore

PAGES = ["The first page.\nIt has two lines.", "", "The third page, cut in three."]
TEXT = "\f".join(PAGES)


def cut(ordinal: int, start: int, end: int) -> ChunkDraft:
    page, page_to = TEXT[:start].count("\f") + 1, TEXT[:end].count("\f") + 1
    return ChunkDraft(ordinal, page, page_to, start, end, TEXT[start:end], 1)


@pytest.fixture
async def document(knowledge, worker):
    """Chunks that overlap, that cross pages, and between which white space was left out."""
    document = await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    third = TEXT.index("The third")
    spans = [(0, 15), (16, third + 9), (third + 4, third + 16), (third + 16, len(TEXT))]
    await knowledge.write(claim, [cut(ordinal, *span) for ordinal, span in enumerate(spans)])
    async with knowledge.transaction("ingest", 1) as connection:
        await WorkerStore(connection).swap(claim, pages=3)
    return document


async def test_a_page_reads_as_it_was_read_whatever_chunks_it_was_cut_into(knowledge, document):
    async with knowledge.transaction("gateway", 1) as connection:
        reader = PassageReader(connection)
        pages = [await reader.read_page(TenantId(1), document.id, page) for page in (1, 2, 3)]
        for page in (0, 4):
            with pytest.raises(PageNotFound):
                await reader.read_page(TenantId(1), document.id, page)
    assert [page.text for page in pages] == PAGES
    assert {page.pages for page in pages} == {3}


async def test_a_passage_comes_with_its_neighbours(knowledge, document):
    found = await knowledge.search(1, "first", limit=1)
    async with knowledge.transaction("gateway", 1) as connection:
        reader = PassageReader(connection)
        passage = await reader.get_passage(TenantId(1), found[0].chunk_id, neighbours=2)
        alone = await reader.get_passage(TenantId(1), found[0].chunk_id, neighbours=0)
    assert (passage.document_id, passage.title) == (document.id, "Report")
    assert (len(passage.before), passage.chunk.ordinal, [text.ordinal for text in passage.after]) == (0, 0, [1, 2])
    assert (alone.before, alone.after) == ((), ())


async def test_a_passage_of_another_tenant_or_a_deleted_one_is_not_found(knowledge, document):
    (found,) = await knowledge.search(1, "first", limit=1)
    async with knowledge.transaction("gateway", 2) as connection:
        with pytest.raises(PassageNotFound):
            await PassageReader(connection).get_passage(TenantId(1), found.chunk_id)
    async with knowledge.transaction("gateway", 1) as connection:
        with pytest.raises(PassageNotFound):
            await PassageReader(connection).get_passage(TenantId(1), ChunkId(uuid.uuid4()))
