import random

import asyncpg
import numpy as np
import pytest

from docuchat_common.ids import TenantId, uuid7
from docuchat_knowledge.documents.errors import DocumentNotFound
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.search.domain import SearchBounds
from docuchat_knowledge.search.service import Searcher
from docuchat_knowledge.search.statistics import SearchStatistics
from docuchat_knowledge.spaces.repository import ensure_space, find_space
from docuchat_models.errors import EmbeddingInvalid
from docuchat_models.prefixes import Prefixes
from docuchat_models.spaces import EmbeddingSpace

FRUIT = ["Apples grow on trees in the orchard.", "Pears are sweet.", "A train leaves the station at noon."]


async def test_words_find_their_chunk_in_any_inflection(knowledge, worker):
    await knowledge.ingest_texts(worker, 1, FRUIT)
    found = await knowledge.search(1, "Which tree grows an apple?")
    assert found[0].text == FRUIT[0]
    assert found[0].text_rank == 1
    assert found[0].vector_rank is None
    assert found[0].title == "Report"


async def test_the_vector_finds_what_shares_no_word(knowledge, worker):
    vectors = np.stack([knowledge.axis(number) for number in range(3)])
    await knowledge.ingest_texts(worker, 1, FRUIT, vectors=vectors)
    found = await knowledge.search(1, "locomotive", knowledge.axis(2), limit=1)
    assert [chunk.text for chunk in found] == [FRUIT[2]]
    assert found[0].similarity == pytest.approx(1.0, abs=1e-3)
    assert found[0].vector_rank == 1


async def test_rare_words_weigh_more_than_common_ones(knowledge, worker):
    texts = [f"The contract of customer number {number} is about delivery" for number in range(30)]
    texts[17] = "A text about penalties"
    await knowledge.ingest_texts(worker, 1, texts)
    assert (await knowledge.search(1, "contract penalties"))[0].text == texts[17]


async def test_words_that_stand_together_beat_the_same_words_apart(knowledge, worker):
    apart = (
        "The energy of the crowd was high and the sources of the river, which is solar heated and dark, are far away"
    )
    together = "The crowd spoke of the river far away and of dark solar energy sources, heated and high as ever it was"
    await knowledge.ingest_texts(worker, 1, [apart, together])
    assert (await knowledge.search(1, "solar energy sources"))[0].text == together


@pytest.mark.parametrize(
    "stored", ["این کتاب می‌شود خوانده شود", "اين كتاب مي‌شود خوانده شود", "این کتاب میشود خوانده شود"]
)
@pytest.mark.parametrize("asked", ["كتاب ميشود", "کتاب می‌شود", "کتاب می شود"])
async def test_persian_spellings_find_each_other(knowledge, worker, stored, asked):
    await knowledge.ingest_texts(worker, 1, [stored, "گربه روی دیوار است"], language="fa")
    found = await knowledge.search(1, asked)
    assert [chunk.text for chunk in found] == [stored]


async def test_persian_plurals_and_parts_of_words_are_found(knowledge, worker):
    await knowledge.ingest_texts(worker, 1, ["کتاب‌های خوب در کتابخانه", "ماشین قرمز"], language="fa")
    for asked in ("کتاب", "کتاب‌ها", "كتابهای", "کتاب های"):
        assert len(await knowledge.search(1, asked)) == 1, asked


async def test_one_question_searches_documents_of_all_languages(knowledge, worker):
    await knowledge.ingest_texts(worker, 1, ["Die Häuser am Fluss wurden verkauft."], language="de")
    await knowledge.ingest_texts(worker, 1, ["The houses by the river were sold."], language="en")
    await knowledge.ingest_texts(worker, 1, ["قیمت خانه در تهران", "word the of"], language="fa")
    await knowledge.ingest_texts(worker, 1, ["ذهب الولد إلى المدرسة"], language="ar")
    assert (await knowledge.search(1, "Haus"))[0].text.startswith("Die Häuser")
    assert (await knowledge.search(1, "selling of the house"))[0].text.startswith("The houses")
    assert (await knowledge.search(1, "خانه"))[0].text.startswith("قیمت")
    assert (await knowledge.search(1, "مدرسة"))[0].text.startswith("ذهب")


async def test_a_stop_word_does_not_find_the_one_foreign_chunk_that_has_it(knowledge, worker):
    await knowledge.ingest_texts(worker, 1, ["متن the of فارسی"], language="fa")
    await knowledge.ingest_texts(worker, 1, ["Prices rise in winter"], language="en")
    assert [chunk.text for chunk in await knowledge.search(1, "the prices of winter")] == ["Prices rise in winter"]


@pytest.mark.parametrize(
    "asked", ["'", "\\", "a & !b | (c)", "<->:*", "\0", " ", "?" * 3000, "%s $1 :name", "x' OR '1"]
)
async def test_no_question_is_a_syntax_error(knowledge, worker, asked):
    await knowledge.ingest_texts(worker, 1, ["x or a b c name s it's c:\\path"])
    await knowledge.search(1, asked)


async def test_words_with_quotes_and_backslashes_are_found(knowledge, worker):
    await knowledge.ingest_texts(worker, 1, [r"see /usr/share\doc and o'neil", "nothing"], language=None)
    assert len(await knowledge.search(1, r"o'neil")) == 1


async def test_filters_narrow_the_search(knowledge, worker):
    first = await knowledge.ingest_texts(worker, 1, ["apple one"])
    second = await knowledge.ingest_texts(worker, 1, ["apple two"])
    only = await knowledge.search(1, "apple", knowledge.axis(0), document_ids=[second.id])
    assert [chunk.document_id for chunk in only] == [second.id]
    assert await knowledge.search(1, "apple", document_ids=[]) == []
    both = await knowledge.search(1, "apple", collection_id=first.collection_id)
    assert {chunk.document_id for chunk in both} == {first.id, second.id}
    assert await knowledge.search(1, "apple", knowledge.axis(0), collection_id=first.id) == []


async def test_another_tenants_chunks_are_never_found(knowledge, worker):
    theirs = await knowledge.ingest_texts(worker, 2, ["canary secret", "canary two"])
    await knowledge.ingest_texts(worker, 1, ["harmless"])
    assert all(c.text == "harmless" for c in await knowledge.search(1, "canary secret", knowledge.axis(0)))
    assert await knowledge.search(1, "canary", knowledge.axis(0), document_ids=[theirs.id]) == []
    # the tenant asked for is the other's, but row-level security goes by the transaction's
    async with knowledge.transaction("chat", 1) as connection:
        searcher = Searcher(connection, knowledge.statistics)
        assert await searcher.search(TenantId(2), "canary", knowledge.axis(0), knowledge.space, 5) == []


async def test_the_large_tenants_path_finds_the_same(knowledge, worker):
    chance = np.random.default_rng(5)
    vectors = chance.standard_normal((300, 4)).astype(np.float32)
    words = random.Random(5)
    vocabulary = [f"word{number}" for number in range(80)]
    texts = [" ".join(words.choices(vocabulary, k=12)) for _ in range(300)]
    await knowledge.ingest_texts(worker, 1, texts, vectors=vectors)
    await knowledge.ingest_texts(worker, 2, texts, vectors=vectors)
    exact = await knowledge.search(1, "word1 word2", vectors[7], limit=10)
    knowledge.statistics = SearchStatistics(SearchBounds(exact_scan=0, count_cap=5, candidates=60))
    indexed = await knowledge.search(1, "word1 word2", vectors[7], limit=10)
    assert len({c.chunk_id for c in exact} & {c.chunk_id for c in indexed}) >= 8


async def test_readiness_tells_what_can_be_searched(knowledge, worker):
    await knowledge.ingest_texts(worker, 1, ["apple one", "apple two"])
    waiting = await knowledge.upload(1)
    async with knowledge.transaction("chat", 1) as connection:
        searcher = Searcher(connection, knowledge.statistics)
        everything = await searcher.check_readiness(TenantId(1))
        only = await searcher.check_readiness(TenantId(1), document_ids=[waiting.id])
    assert (everything.queued, everything.ready, everything.chunks) == (1, 1, 2)
    assert (only.queued, only.ready, only.chunks) == (1, 0, 0)


@pytest.mark.parametrize("service", ["gateway", "ingest", "chat"])
async def test_row_level_security_alone_keeps_tenants_apart(knowledge, worker, service):
    await knowledge.ingest_texts(worker, 1, ["mine"])
    await knowledge.ingest_texts(worker, 2, ["theirs"])
    tables = ["documents", "collections", "chunks", "chunk_vectors"]
    async with knowledge.transaction(service, 1) as connection:
        for table in tables:
            query = await connection.fetchval(
                "SELECT format('SELECT DISTINCT tenant_id FROM knowledge.%I', $1::text)", table
            )
            assert [row["tenant_id"] for row in await connection.fetch(query)] == [1], table
    database = getattr(knowledge, service)
    async with database.connection() as connection:
        for table in tables:
            query = await connection.fetchval("SELECT format('SELECT count(*) FROM knowledge.%I', $1::text)", table)
            assert await connection.fetchval(query) == 0, table


async def test_the_word_lookup_answers_for_the_transactions_tenant_only(knowledge, worker):
    await knowledge.ingest_texts(worker, 2, ["canary"])
    async with knowledge.transaction("chat", 1) as connection:
        assert (
            await connection.fetchval(
                "SELECT chunk_count FROM knowledge.count_terms_v2(ARRAY['canari', 'canary'], 10, NULL)"
            )
            == 0
        )
        assert (
            await connection.fetch(
                "SELECT * FROM knowledge.chunks_with_terms_v2(ARRAY['canari', 'canary'], false, 10, NULL)"
            )
            == []
        )
    async with knowledge.chat.connection() as connection:
        assert (
            await connection.fetch(
                "SELECT * FROM knowledge.chunks_with_terms_v2(ARRAY['canari', 'canary'], false, 10, NULL)"
            )
            == []
        )


@pytest.mark.parametrize(
    ("service", "statement"),
    [
        ("chat", "DELETE FROM knowledge.chunks"),
        ("chat", "UPDATE knowledge.documents SET title = 'x'"),
        ("gateway", "INSERT INTO knowledge.chunks (id) VALUES (gen_random_uuid())"),
        ("ingest", "DELETE FROM knowledge.documents"),
        ("ingest", "SELECT * FROM knowledge.count_terms_v2(ARRAY['x'], 1, NULL)"),
        ("gateway", "UPDATE knowledge.collections SET is_default = false"),
        ("chat", "SELECT * FROM knowledge.collection_members"),
        ("chat", "SELECT * FROM knowledge.readable_term_keys_v1(ARRAY['x'], NULL)"),
    ],
)
async def test_a_role_can_do_no_more_than_its_service_needs(knowledge, service, statement):
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with knowledge.transaction(service, 1) as connection:
            await connection.execute(statement)


async def test_a_deleted_document_is_not_found_from_the_next_search_on(knowledge, worker):
    document = await knowledge.ingest_texts(worker, 1, ["apple"])
    assert await knowledge.search(1, "apple", knowledge.axis(0))
    async with knowledge.transaction("gateway", 1) as connection:
        await DocumentRegistry(connection).delete(TenantId(1), document.id)
    assert await knowledge.search(1, "apple", knowledge.axis(0)) == []


async def test_the_space_says_what_its_vectors_weigh(knowledge, worker):
    vectors = np.stack([knowledge.axis(number) for number in range(2)])
    await knowledge.ingest_texts(worker, 1, ["apple pear plum", "a train at noon"], vectors=vectors)
    scores = {}
    for weight in (0.1, 0.8):
        async with knowledge.database.connect("docuchat_owner") as owner:
            await ensure_space(owner, knowledge.space, vector_weight=weight)
        knowledge.statistics = SearchStatistics()
        found = await knowledge.search(1, "", knowledge.axis(1), limit=1)
        scores[weight] = found[0].score
    assert scores == pytest.approx({0.1: 0.1, 0.8: 0.8}, abs=1e-3)


@pytest.mark.parametrize(("provider", "weight"), [("wordllama", 0.25), ("openai", 0.4)])
async def test_a_new_space_weighs_as_its_model_is_trusted(knowledge, provider, weight):
    async with knowledge.database.connect("docuchat_owner") as owner:
        space = EmbeddingSpace(provider, "m", 4)
        await ensure_space(owner, space)
        assert (await find_space(owner, space)).vector_weight == pytest.approx(weight)
        assert await owner.fetchval("SELECT count(*) FROM knowledge.embedding_spaces WHERE is_current") == 1


async def test_another_prefix_is_another_space(knowledge):
    async with knowledge.database.connect("docuchat_owner") as owner:
        plain = EmbeddingSpace("test", "m", 4)
        prefixed = EmbeddingSpace("test", "m", 4, Prefixes("query: ", "passage: "))
        first = await ensure_space(owner, plain)
        second = await ensure_space(owner, prefixed)
        assert second != first
        assert (await find_space(owner, prefixed)).id == second
        assert await owner.fetchval("SELECT id FROM knowledge.embedding_spaces WHERE is_current") == second
        assert await find_space(owner, EmbeddingSpace("test", "m", 4, Prefixes("query: "))) is None
        assert await ensure_space(owner, plain) == first


async def test_documents_that_there_are_not_are_named(knowledge, worker):
    mine = await knowledge.ingest_texts(worker, 1, ["apple"])
    theirs = await knowledge.ingest_texts(worker, 2, ["apple"])
    nobodys = uuid7()
    async with knowledge.transaction("chat", 1) as connection:
        searcher = Searcher(connection, knowledge.statistics)
        await searcher.require_documents(TenantId(1), [mine.id])
        with pytest.raises(DocumentNotFound) as missing:
            await searcher.require_documents(TenantId(1), [mine.id, theirs.id, nobodys])
    assert missing.value.extensions["document_ids"] == [str(theirs.id), str(nobodys)]
    assert str(nobodys) in missing.value.detail
    assert str(mine.id) not in missing.value.detail


async def test_readiness_tells_what_is_found_by_words_alone(knowledge, worker):
    await knowledge.ingest_texts(worker, 1, ["apple"])
    async with knowledge.database.connect("docuchat_owner") as owner:
        await ensure_space(owner, EmbeddingSpace("test", "better", 4))
    await knowledge.upload(1)
    async with knowledge.transaction("chat", 1) as connection:
        readiness = await Searcher(connection, knowledge.statistics).check_readiness(TenantId(1))
    assert (readiness.ready, readiness.queued, readiness.outdated) == (1, 1, 1)


@pytest.mark.parametrize("vector", [np.zeros(4, np.float32), np.array([np.nan, 1, 0, 0], np.float32)])
async def test_a_question_whose_vector_is_none_is_searched_by_words(knowledge, worker, vector):
    await knowledge.ingest_texts(worker, 1, ["apple", "pear"])
    (found,) = await knowledge.search(1, "apple", vector)
    assert (found.text, found.vector_rank, found.similarity) == ("apple", None, None)


@pytest.mark.parametrize("vector", [np.zeros(4, np.float32), np.array([np.inf, 1, 0, 0], np.float32)])
async def test_vectors_that_are_none_are_not_stored(knowledge, worker, vector):
    await knowledge.upload(1)
    claim = await knowledge.claim(worker.process_id)
    with pytest.raises(EmbeddingInvalid):
        await knowledge.write(claim, [knowledge.draft(0, "x")], vector[None])
