"""What a reader may not see is neither shown nor counted, by row-level security alone."""

import random
from dataclasses import dataclass, replace
from uuid import UUID

import asyncpg
import numpy as np
import pytest

from docuchat_common.http.caller import Caller, NotAllowed
from docuchat_common.ids import TenantId, UserId, uuid7
from docuchat_knowledge.collections.domain import Access, Kind, Visibility
from docuchat_knowledge.collections.errors import CollectionNotFound, CollectionOfChatbot
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.domain import NewDocument
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.search.domain import SearchBounds
from docuchat_knowledge.search.service import Searcher
from docuchat_knowledge.search.statistics import SearchStatistics

TENANT = TenantId(1)
LEVELS = ("read", "write", "manage")
FILL = """
WITH made AS (
    INSERT INTO knowledge.collections
        (id, tenant_id, name, is_default, visibility, chunk_count, term_total, languages, kind, owner_id)
    VALUES ($1::uuid, $2, 'c', $3, $4, $5::integer, $5::integer * 3, ARRAY['en'], $8::text,
            CASE WHEN $8::text = 'attachments' THEN $1::uuid END) RETURNING id
),
document AS (
    INSERT INTO knowledge.documents
        (id, tenant_id, collection_id, title, filename, media_type, size_bytes, sha256, blob_key, status, generation,
         space_id)
    SELECT $6::uuid, $2, id, 't', 'f', 'm', 1, $6::uuid::text, 'b', 'ready', 1, 1 FROM made RETURNING id, collection_id
),
written AS (
    INSERT INTO knowledge.chunks (id, tenant_id, document_id, collection_id, generation, ordinal, page, page_to,
                                  char_start, char_end, token_count, term_count, language, text, search_vector)
    SELECT gen_random_uuid(), $2, d.id, d.collection_id, 1, n, 1, 1, 0, 1, 3, 3, 'en', 'x',
           to_tsvector('english', $7::text || ' apple number' || n)
    FROM document d, generate_series(1, $5::integer) n
    RETURNING id, document_id, collection_id
)
INSERT INTO knowledge.chunk_vectors (chunk_id, tenant_id, document_id, collection_id, generation, space_id, embedding)
SELECT w.id, $2, w.document_id, w.collection_id, 1, 1, ARRAY[1, random(), random(), random()]::real[]::halfvec
FROM written w
"""


@dataclass(frozen=True)
class Shelf:
    """A collection with one document, whose chunks have a word of their own."""

    id: UUID
    document_id: UUID
    word: str
    visibility: str
    members: dict[UUID, str]


async def put(
    knowledge, visibility="restricted", *, members=None, chunks=2, tenant=TENANT, is_default=False, of=None, kind=None
) -> Shelf:
    shelf = Shelf(of or uuid7(), uuid7(), f"shelf{random.randrange(10**9)}", visibility, dict(members or {}))
    kind = kind or ("attachments" if of else "documents")
    async with knowledge.database.connect() as admin:
        arguments = (shelf.id, tenant, is_default, visibility, chunks, shelf.document_id, shelf.word, kind)
        await admin.execute(FILL, *arguments)
        for member, access in shelf.members.items():
            await admin.execute(
                "INSERT INTO knowledge.collection_members (collection_id, member_id, tenant_id, access)"
                " VALUES ($1, $2, $3, $4)",
                *(shelf.id, member, tenant, access),
            )
    return shelf


def reader_of(role: str | None, *groups: UUID, subject: UUID | None = None) -> Caller:
    return Caller(TENANT, "user", UserId(subject or uuid7()), role=role, groups=frozenset(groups))


def may(reader: Caller, shelf: Shelf, wanted: str) -> bool:
    """The rule, said once more and plainly."""
    if reader.role in {"owner", "admin"}:
        return True
    if reader.role not in {"member", "viewer"} or (reader.role == "viewer" and wanted != "read"):
        return False
    if shelf.visibility == "tenant" and wanted != "manage":
        return True
    own = [shelf.members[subject] for subject in {reader.subject_id, *reader.groups} if subject in shelf.members]
    return any(LEVELS.index(access) >= LEVELS.index(wanted) for access in own)


async def accessible(connection: asyncpg.Connection, wanted: str) -> set[UUID]:
    return set(await connection.fetchval("SELECT knowledge.accessible_v2($1)", wanted))


async def test_whatever_the_collections_groups_and_roles_a_reader_gets_what_the_rule_says(knowledge):
    chance = random.Random(20)
    people, groups = [uuid7() for _ in range(6)], [uuid7() for _ in range(4)]
    shelves = []
    for _ in range(14):
        members = {who: chance.choice(LEVELS) for who in chance.sample(people + groups, chance.randrange(4))}
        shelves.append(await put(knowledge, chance.choice(["tenant", "restricted", "restricted"]), members=members))
    theirs = await put(knowledge, "tenant", members=dict.fromkeys(people, "manage"), tenant=TenantId(2))
    for turn in range(40):
        role = chance.choice(["owner", "admin", "member", "member", "viewer", "viewer", "guest", None])
        reader = reader_of(role, *chance.sample(groups, chance.randrange(3)), subject=chance.choice(people))
        expected = {shelf.id for shelf in shelves if may(reader, shelf, "read")}
        if turn % 4 == 0:
            knowledge.statistics = SearchStatistics(SearchBounds(exact_scan=0, count_cap=5, candidates=60))
        for words, vector in (("apple", None), ("", knowledge.axis(0)), ("apple", knowledge.axis(0))):
            found = await knowledge.search(TENANT, words, vector, limit=60, reader=reader)
            assert {chunk.collection_id for chunk in found} == expected, reader
            assert len(found) == 2 * len(expected)
        for shelf in (*shelves, theirs):
            found = await knowledge.search(TENANT, shelf.word, None, reader=reader, collection_id=shelf.id)
            assert len(found) == 2 * (shelf.id in expected)
            found = await knowledge.search(TENANT, shelf.word, reader=reader)
            assert any(c.collection_id == shelf.id for c in found) == (shelf.id in expected)
        async with knowledge.transaction("chat", TENANT, reader) as connection:
            searcher = Searcher(connection, knowledge.statistics)
            assert (await searcher.check_readiness(TENANT)).ready == len(expected)
            documents = [shelf.document_id for shelf in (*shelves, theirs)]
            hidden = {shelf.document_id for shelf in (*shelves, theirs) if shelf.id not in expected}
            assert set(await searcher.list_unknown(TENANT, documents)) == hidden
            assert await searcher.list_deleted(documents) == [theirs.document_id]
        async with knowledge.transaction("gateway", TENANT, reader) as connection:
            listed = await DocumentRegistry(connection).list_documents(TENANT, limit=50)
            assert {document.collection_id for document in listed} == expected
            assert [document.id for document in listed] == sorted((d.id for d in listed), reverse=True)
            for wanted in LEVELS:
                assert await accessible(connection, wanted) == {s.id for s in shelves if may(reader, s, wanted)}


@pytest.mark.parametrize("service", ["gateway", "chat"])
async def test_raw_statements_see_what_the_reader_may_see_in_every_table(knowledge, service):
    me, group = uuid7(), uuid7()
    opened = await put(knowledge, "tenant")
    mine = await put(knowledge, members={me: "read"})
    ours = await put(knowledge, members={group: "read"})
    hidden = await put(knowledge, members={uuid7(): "manage"})
    expected = {
        reader_of("member", group, subject=me): {opened.id, mine.id, ours.id},
        reader_of("viewer", subject=me): {opened.id, mine.id},
        reader_of("member"): {opened.id},
        reader_of("admin"): {opened.id, mine.id, ours.id, hidden.id},
        reader_of("owner"): {opened.id, mine.id, ours.id, hidden.id},
        reader_of("guest", group, subject=me): set(),
        reader_of(None, group, subject=me): set(),
        None: {opened.id},
    }
    for reader, seen in expected.items():
        for table in ("collections", "documents", "chunks", "chunk_vectors"):
            async with knowledge.transaction(service, TENANT, reader) as connection:
                column = "id" if table == "collections" else "collection_id"
                query = await connection.fetchval(
                    "SELECT format('SELECT %I FROM knowledge.%I', $1::text, $2::text)", column, table
                )
                assert {row[0] for row in await connection.fetch(query)} == seen, (table, reader)
    # one transaction that is made another reader's looks again
    async with knowledge.transaction(service, TENANT, reader_of("admin")) as connection:
        count = "SELECT count(*) FROM knowledge.documents"
        assert await connection.fetchval(count) == 4
        await connection.execute("SELECT set_config('app.role', 'member', true)")
        assert await connection.fetchval(count) == 1
        await connection.execute("SELECT set_config('app.tenant_id', '2', true)")
        assert await connection.fetchval(count) == 0


async def seen_by(knowledge, service: str, reader: Caller | None) -> dict[str, set[UUID]]:
    """What is seen of each table, by collection."""
    seen = {}
    for table in ("collections", "documents", "chunks", "chunk_vectors"):
        async with knowledge.transaction(service, TENANT, reader) as connection:
            column = "id" if table == "collections" else "collection_id"
            query = await connection.fetchval(
                "SELECT format('SELECT %I FROM knowledge.%I', $1::text, $2::text)", column, table
            )
            seen[table] = {row[0] for row in await connection.fetch(query)}
    return seen


async def test_a_transaction_that_names_its_collections_reads_exactly_these_whoever_asks(knowledge):
    """Publishing is sharing: who may ask a chatbot reads what its version names, and writes nothing."""
    opened, hidden, other = await put(knowledge, "tenant"), await put(knowledge), await put(knowledge, kind="chatbot")
    theirs = await put(knowledge, "tenant", tenant=TenantId(2))
    for role in ("owner", "admin", "member", "viewer", "visitor", None):
        anyone = reader_of(role)
        for named in ((), (hidden.id,), (hidden.id, other.id, theirs.id), (theirs.id,), (uuid7(),)):
            reader = replace(anyone, collections=named)
            expected = {hidden.id, other.id} & set(named)
            for service in ("chat", "gateway"):
                assert set(map(frozenset, (await seen_by(knowledge, service, reader)).values())) == {
                    frozenset(expected)
                }
            for words, vector in (("apple", None), ("", knowledge.axis(0)), ("apple", knowledge.axis(0))):
                for bounds in (SearchBounds(), SearchBounds(exact_scan=0, count_cap=1, candidates=60)):
                    knowledge.statistics = SearchStatistics(bounds)
                    found = await knowledge.search(TENANT, words, vector, limit=60, reader=reader)
                    assert {chunk.collection_id for chunk in found} == expected
                    assert len(found) == 2 * len(expected)
            async with knowledge.transaction("gateway", TENANT, reader) as connection:
                assert await accessible(connection, "write") == await accessible(connection, "manage") == set()
            for statement in (
                "UPDATE knowledge.documents SET deleted_at = now()",
                "DELETE FROM knowledge.chunks",
                "DELETE FROM knowledge.collections",
                "UPDATE knowledge.collections SET chunk_count = 0",
            ):
                assert await affected(knowledge, reader, statement) == 0
            with pytest.raises((NotAllowed, CollectionNotFound)):
                async with knowledge.transaction("gateway", TENANT, reader) as connection:
                    await DocumentRegistry(connection).register(new_document(hidden.id))
    assert opened.id not in expected


async def test_attachments_are_read_by_their_owner_alone_and_searched_only_where_they_are_named(knowledge):
    me, key = uuid7(), uuid7()
    mine, opened = await put(knowledge, of=me), await put(knowledge, "tenant")
    own = [reader_of(role, subject=me) for role in ("viewer", "member", "admin")] + [
        reader_of("member", me, subject=key)
    ]
    others = [reader_of(role) for role in ("owner", "admin", "member", "viewer")] + [None]
    for reader in own:
        assert all(mine.id in seen for seen in (await seen_by(knowledge, "gateway", reader)).values())
        seen = await seen_by(knowledge, "chat", reader)
        assert [table for table, ids in seen.items() if mine.id in ids] == ["documents"]
        assert await knowledge.search(TENANT, mine.word, knowledge.axis(0), limit=60, reader=reader) == (
            await knowledge.search(TENANT, mine.word, knowledge.axis(0), limit=60, reader=reader_of("member"))
        )
        found = await knowledge.search(TENANT, "apple", reader=replace(reader, collections=(me,)))
        assert {chunk.collection_id for chunk in found} == {mine.id}
        async with knowledge.transaction("gateway", TENANT, reader) as connection:
            assert mine.id in await accessible(connection, "write")
            assert mine.id not in await accessible(connection, "manage")
            registry = DocumentRegistry(connection)
            assert [d.collection_id for d in await registry.list_documents(TENANT, limit=9)] == [opened.id]
            assert (await registry.get(TENANT, mine.document_id)).collection_id == mine.id
            listed = await registry.list_documents(TENANT, limit=9, collection_id=mine.id)
            assert [document.id for document in listed] == [mine.document_id]
            assert mine.id not in {
                c.id for c in await CollectionRepository(connection).page(TENANT, limit=9, before=None)
            }
    for reader in others:
        named = None if reader is None else replace(reader, collections=(me, opened.id))
        for asking in (reader, named):
            for service in ("gateway", "chat"):
                assert all(mine.id not in seen for seen in (await seen_by(knowledge, service, asking)).values())
        if named is not None:
            found = await knowledge.search(TENANT, mine.word + " apple", reader=named)
            assert {chunk.collection_id for chunk in found} == {opened.id}


async def test_a_collection_for_attachments_is_made_for_oneself_alone_and_once(knowledge):
    me, key = uuid7(), uuid7()
    for reader in (reader_of("viewer", subject=me), reader_of("member", me, subject=key)):
        async with knowledge.transaction("gateway", TENANT, reader) as connection:
            collection = await CollectionRepository(connection).open_attachments(TENANT, me)
            assert (collection.id, collection.access) == (me, Access.WRITE)
            assert (await DocumentRegistry(connection).register(new_document(collection.id))).created
    for reader in (reader_of("owner"), reader_of("member"), replace(reader_of("member"), collections=())):
        with pytest.raises(NotAllowed):
            async with knowledge.transaction("gateway", TENANT, reader) as connection:
                await CollectionRepository(connection).open_attachments(TENANT, uuid7())


async def test_the_collection_of_a_chatbot_is_made_once_and_stays_closed(knowledge):
    chatbot_id, admin = uuid7(), reader_of("admin")
    async with knowledge.transaction("gateway", TENANT, admin) as connection:
        collections = CollectionRepository(connection)
        made = await collections.open_of_chatbot(TENANT, chatbot_id, "Bot", created_by=admin.subject_id)
        assert made == await collections.open_of_chatbot(TENANT, chatbot_id, "Other", created_by=None)
        assert (made.id, made.kind, made.visibility) == (chatbot_id, Kind.CHATBOT, Visibility.RESTRICTED)
        with pytest.raises(CollectionOfChatbot):
            await collections.update(TENANT, made.id, name=None, visibility=Visibility.TENANT)
        assert (await collections.update(TENANT, made.id, name="New", visibility=None)).name == "New"
    with pytest.raises(NotAllowed):
        async with knowledge.transaction("gateway", TENANT, reader_of("member")) as connection:
            await CollectionRepository(connection).open_of_chatbot(TENANT, uuid7(), "Bot", created_by=None)


async def test_the_worker_sees_all_of_the_tenant(knowledge):
    await put(knowledge, "restricted")
    async with knowledge.transaction("ingest", TENANT) as connection:
        assert await connection.fetchval("SELECT count(*) FROM knowledge.chunks") == 2


async def test_no_count_tells_of_what_is_hidden(knowledge):
    opened, hidden = await put(knowledge, "tenant"), await put(knowledge, chunks=30)
    reader = reader_of("member")
    count = "SELECT chunk_count FROM knowledge.count_terms_v2(ARRAY[$1], 1000, $2)"
    look_up = "SELECT * FROM knowledge.chunks_with_terms_v2(ARRAY[$1], $2, 1000, $3)"
    async with knowledge.transaction("chat", TENANT, reader) as connection:
        assert await connection.fetchval(count, "appl", None) == 2
        assert await connection.fetchval(count, hidden.word, None) == 0
        assert await connection.fetchval(count, hidden.word, hidden.id) == 0
        assert await connection.fetchval(count, opened.word, opened.id) == 2
        for all_of_them in (False, True):
            assert await connection.fetch(look_up, hidden.word, all_of_them, None) == []
            assert await connection.fetch(look_up, hidden.word, all_of_them, hidden.id) == []
            assert len(await connection.fetch(look_up, "appl", all_of_them, None)) == 2
        sizes = "SELECT sum(chunk_count) FROM knowledge.collections"
        assert await connection.fetchval(sizes) == 2


async def test_what_one_reader_may_count_weighs_nothing_in_anothers_search(knowledge):
    """The numbers that a process remembers between searches are those of the collections that were searched."""
    one, other = reader_of("member"), reader_of("member")
    hidden = await put(knowledge, members={other.subject_id: "read"}, chunks=3)
    await put(knowledge, members={one.subject_id: "read"}, chunks=3)  # as many: remembered numbers are used again
    asked = f"apple number1 {hidden.word}"

    async def scores() -> list[tuple[UUID, float | None]]:
        return [(chunk.chunk_id, chunk.text_score) for chunk in await knowledge.search(TENANT, asked, reader=one)]

    alone = await scores()
    assert len(alone) == 3
    knowledge.statistics = SearchStatistics()
    assert len(await knowledge.search(TENANT, asked, reader=other)) == 3
    assert await scores() == alone


async def test_a_reader_of_one_percent_of_the_chunks_gets_as_many_results_as_any(knowledge):
    """Whichever way the vectors are read; what is hidden is nearer to the question than what may be seen."""
    hidden = await put(knowledge, chunks=3000)
    opened = await put(knowledge, "tenant", chunks=30)
    async with knowledge.database.connect() as admin:
        await admin.execute(
            "UPDATE knowledge.chunk_vectors SET embedding = '[1,0.001,0,0]' WHERE collection_id = $1", hidden.id
        )
        await admin.execute("ANALYZE knowledge.chunk_vectors")
    vector = np.array([1, 0, 0, 0], np.float32)
    for bounds in (SearchBounds(), SearchBounds(exact_scan=0, count_cap=5, candidates=60)):
        knowledge.statistics = SearchStatistics(bounds)
        for words in ("", "apple"):
            found = await knowledge.search(TENANT, words, vector, limit=20, reader=reader_of("viewer"))
            assert len(found) == 20, bounds
            assert {chunk.collection_id for chunk in found} == {opened.id}


def new_document(collection_id: UUID) -> NewDocument:
    document_id = uuid7()
    return NewDocument(
        document_id, TENANT, collection_id, "t", "f", "m", 1, str(document_id), f"tenants/1/{document_id}", uuid7()
    )


async def test_the_database_refuses_a_document_where_its_uploader_may_not_write(knowledge):
    me = uuid7()
    kinds = (("tenant", "read"), ("restricted", "read"), ("restricted", "write"), ("restricted", "manage"))
    shelves = [await put(knowledge, visibility, members={me: access}) for visibility, access in kinds]
    shelves.append(await put(knowledge))
    for role in ("viewer", "member", "admin", None):
        reader = reader_of(role, subject=me)
        for shelf in shelves:
            allowed = may(reader, shelf, "write")
            try:
                async with knowledge.transaction("gateway", TENANT, reader) as connection:
                    registration = await DocumentRegistry(connection).register(new_document(shelf.id))
                assert registration.created
                written = True
            except (NotAllowed, CollectionNotFound):
                written = False
            assert written == allowed, (role, shelf)


async def affected(knowledge, reader: Caller, statement: str, *arguments: object) -> int | None:
    """How many rows a statement of the gateway's role changes, whatever its code would ask before; None: refused."""
    try:
        async with knowledge.transaction("gateway", TENANT, reader) as connection:
            status = await connection.execute(statement, *arguments)
            raise _Undo(int(status.rpartition(" ")[2]))
    except _Undo as undone:
        return undone.rows
    except asyncpg.InsufficientPrivilegeError:
        return None


class _Undo(Exception):
    def __init__(self, rows: int) -> None:
        self.rows = rows


async def readers_and_shelves(knowledge) -> tuple[list[Caller], list[Shelf]]:
    me = uuid7()
    readers = [reader_of(role, subject=me) for role in ("viewer", "member", "admin", None)]
    kinds = (("tenant", "read"), ("restricted", "read"), ("restricted", "write"), ("restricted", "manage"))
    shelves = [await put(knowledge, visibility, members={me: access}, chunks=1) for visibility, access in kinds]
    return readers, [*shelves, await put(knowledge, chunks=1)]


async def test_the_database_lets_who_may_write_change_and_delete_documents_and_nobody_else(knowledge):
    readers, shelves = await readers_and_shelves(knowledge)
    for statement in (
        "UPDATE knowledge.documents SET deleted_at = now() WHERE collection_id = $1",
        "UPDATE knowledge.collections SET chunk_count = 0 WHERE id = $1",
        "DELETE FROM knowledge.chunk_vectors WHERE collection_id = $1",
        "DELETE FROM knowledge.chunks WHERE collection_id = $1",
        "DELETE FROM knowledge.documents WHERE collection_id = $1",
    ):
        for reader in readers:
            for shelf in shelves:
                changed = await affected(knowledge, reader, statement, shelf.id)
                assert changed == int(may(reader, shelf, "write")), (statement, reader.role, shelf)


async def test_the_database_lets_managers_alone_rename_open_and_restrict(knowledge):
    readers, shelves = await readers_and_shelves(knowledge)
    for statement in (
        "UPDATE knowledge.collections SET name = 'Ours' WHERE id = $1",
        "UPDATE knowledge.collections SET visibility = 'tenant' WHERE id = $1",
        "UPDATE knowledge.collections SET visibility = 'restricted', chunk_count = 0 WHERE id = $1",
    ):
        for reader in readers:
            for shelf in shelves:
                changed = await affected(knowledge, reader, statement, shelf.id) or 0
                assert changed == int(may(reader, shelf, "manage")), (statement, reader.role, shelf)


async def test_the_database_lets_admins_alone_make_collections_and_uploaders_the_first(knowledge):
    make = "INSERT INTO knowledge.collections (id, tenant_id, name, is_default, visibility) VALUES ($1, 1, 'c', $2, $3)"
    for role in ("viewer", "member", "admin", "owner", "guest", None):
        for is_default, visibility in ((False, "tenant"), (False, "restricted"), (True, "tenant")):
            made = await affected(knowledge, reader_of(role), make, uuid7(), is_default, visibility)
            allowed = role in {"admin", "owner"} or (is_default and role == "member")
            assert (made == 1) == allowed, (role, is_default)


async def test_who_lost_the_right_since_it_was_looked_at_is_refused_and_told_so(knowledge):
    me = uuid7()
    written = await put(knowledge, members={me: "write"})
    read = await put(knowledge, members={me: "read"})
    reader = reader_of("member", subject=me)
    attempts = [
        lambda c: CollectionRepository(c).create(TENANT, "Mine", Visibility.RESTRICTED, created_by=me),
        lambda c: CollectionRepository(c).update(TENANT, written.id, name="Mine", visibility=None),
        lambda c: CollectionRepository(c).update(TENANT, read.id, name="Mine", visibility=None),
        lambda c: CollectionRepository(c).put_member(TENANT, written.id, uuid7(), Access.READ),
        lambda c: DocumentRegistry(c).delete(TENANT, read.document_id),
        lambda c: DocumentRegistry(c).begin_receiving(
            TENANT, uuid7(), collection_id=read.id, uploaded_by=me, media_type="m"
        ),
    ]
    for attempt in attempts:
        with pytest.raises(NotAllowed):
            async with knowledge.transaction("gateway", TENANT, reader) as connection:
                await attempt(connection)


async def test_the_database_lets_managers_alone_say_who_is_a_member(knowledge):
    me, friend = uuid7(), uuid7()
    mine = await put(knowledge, members={me: "manage"})
    written = await put(knowledge, members={me: "write"})
    add = (
        "INSERT INTO knowledge.collection_members (collection_id, member_id, tenant_id, access)"
        " VALUES ($1, $2, 1, 'read')"
    )
    reader = reader_of("member", subject=me)
    async with knowledge.transaction("gateway", TENANT, reader) as connection:
        await connection.execute(add, mine.id, friend)
        seen = await connection.fetch("SELECT DISTINCT collection_id FROM knowledge.collection_members")
        assert [row[0] for row in seen] == [mine.id]
        assert await connection.execute("UPDATE knowledge.collection_members SET access = 'manage'") == "UPDATE 2"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with knowledge.transaction("gateway", TENANT, reader) as connection:
            await connection.execute(add, written.id, friend)


async def test_the_default_collection_is_made_for_whoever_uploads_first(knowledge):
    async with knowledge.transaction("gateway", TENANT, reader_of("member")) as connection:
        collection = await CollectionRepository(connection).open_default(TENANT)
        assert (await DocumentRegistry(connection).register(new_document(collection.id))).created


async def test_a_role_is_a_word_and_nothing_else(knowledge):
    with pytest.raises(ValueError, match="not the name of a role"):
        async with knowledge.transaction("chat", TENANT, reader_of("x', true), set_config('app.role', 'owner")):
            pass
