"""What the tests of the worker share: where the real PDF files are, and a maker of files that no printer would make."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from pytest_socket import disable_socket, enable_socket

from docuchat_common.db import UnitOfWork
from docuchat_ingest.reading.process.pool import ParserLimits, ParserPool
from docuchat_knowledge.collections.repository import CollectionRepository
from docuchat_knowledge.documents.repository import DocumentRegistry
from docuchat_knowledge.spaces.repository import ensure_space
from docuchat_models.opening import find_space
from docuchat_models.settings import EmbeddingSettings
from docuchat_models.tokens import TokenCounter
from docuchat_testkit.broker import TestBroker
from docuchat_testkit.databases import ClonedDatabase
from docuchat_testkit.messaging import others

from .bench import Bench, make_bench
from .fakes import Surroundings
from .running import Product, UsageStub


@pytest.fixture
async def bench(database: ClonedDatabase) -> AsyncIterator[Bench]:
    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(database.open("ingest", max_size=4))
        yield await make_bench(stack, database, opened)


@pytest.fixture
def around(bench: Bench) -> Surroundings:
    return bench.around


@pytest.fixture
async def usage() -> AsyncIterator[UsageStub]:
    stub = UsageStub()
    app = web.Application()
    app.add_routes(
        [
            web.post("/internal/holds", stub.open),
            web.patch("/internal/holds/{hold}", stub.renew),
            web.delete("/internal/holds/{hold}", stub.drop),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    stub.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield stub
    await runner.cleanup()


@pytest.fixture
async def product(
    database: ClonedDatabase,
    service_environment: Callable[[str], dict[str, str]],
    rabbitmq: TestBroker,
    usage: UsageStub,
    tmp_path: Path,
) -> AsyncIterator[Product]:
    environment = {
        **service_environment("ingest"),
        "USAGE_URL": usage.url,
        "PORT": "0",
        "INGEST_POLL": "500ms",
        "OPENAI_API_KEY": "",
        "EMBEDDING_BATCH_SIZE": "16",
    }
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(database.connect())
        await ensure_space(admin, await find_space(EmbeddingSettings(openai_api_key=None)))
        opened = await stack.enter_async_context(database.open("gateway"))
        gateway = await stack.enter_async_context(others(rabbitmq))
        uow: UnitOfWork[tuple[CollectionRepository, DocumentRegistry]] = UnitOfWork(
            opened,
            lambda connection, *_: (CollectionRepository(connection), DocumentRegistry(connection)),
            schema="knowledge",
        )
        folder = tmp_path / "blobs"
        folder.mkdir(exist_ok=True)
        yield Product(database, environment, uow, gateway, folder)


@pytest.fixture(scope="session")
def long_pdf(book: Path) -> bytes:
    return book.read_bytes()


@pytest.fixture
def no_sockets() -> Iterator[None]:
    """No connection leaves a unit test; the event loop's own pair of Unix sockets may."""
    disable_socket(allow_unix_socket=True)
    yield
    enable_socket()


@pytest.fixture
async def parser_pool() -> AsyncIterator[ParserPool]:
    async with ParserPool(2, ParserLimits()) as pool:
        yield pool


@pytest.fixture(scope="session")
def count_tokens() -> Callable[[str], int]:
    return TokenCounter.for_model("text-embedding-3-small").count


class PdfMaker:
    """Writes PDF files object by object, with a right cross-reference table unless told otherwise."""

    def write(self, objects: Iterable[bytes], root: int = 1, trailer: bytes = b"", prefix: bytes = b"") -> bytes:
        out = bytearray(prefix + b"%PDF-1.7\n")
        offsets = []
        for number, body in enumerate(objects, start=1):
            offsets.append(len(out))
            out += b"%d 0 obj\n%b\nendobj\n" % (number, body)
        start = len(out)
        out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(offsets) + 1)
        for offset in offsets:
            out += b"%010d 00000 n \n" % offset
        out += b"trailer\n<</Size %d/Root %d 0 R%b>>\n" % (len(offsets) + 1, root, trailer)
        out += b"startxref\n%d\n%%%%EOF\n" % start
        return bytes(out)

    def stream(self, data: bytes, extra: bytes = b"") -> bytes:
        return b"<</Length %d%b>>\nstream\n%b\nendstream" % (len(data), extra, data)

    def deflated(self, data: bytes, times: int = 1) -> bytes:
        for _ in range(times):
            data = zlib.compress(data, 9)
        filters = b"/FlateDecode" * times
        return self.stream(data, b"/Filter[%b]" % filters)

    def pages(self, contents: Iterable[bytes], media_box: bytes = b"[0 0 595 842]", extra: bytes = b"") -> bytes:
        """A document with a page for each content stream object (bytes of the object, not of the stream)."""
        objects = [b"<</Type/Catalog/Pages 2 0 R%b>>" % extra, b"", b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"]
        kids = []
        for content in contents:
            objects.append(content)
            objects.append(
                b"<</Type/Page/Parent 2 0 R/MediaBox%b/Resources<</Font<</F1 3 0 R>>>>/Contents %d 0 R>>"
                % (media_box, len(objects))
            )
            kids.append(b"%d 0 R" % len(objects))
        objects[1] = b"<</Type/Pages/Kids[%b]/Count %d>>" % (b" ".join(kids), len(kids))
        return self.write(objects)

    def text(self, *pages: str) -> bytes:
        """A readable document, a line of Latin text a page."""
        return self.pages(self.stream(b"BT /F1 12 Tf 72 720 Td (%b) Tj ET" % page.encode("latin-1")) for page in pages)

    def scanned(self, *texts: str, hidden: bool = False) -> bytes:
        """A picture over each page, as scanners make them, with a line of text on it where one is given, `hidden` as
        text recognition lays it under the picture.
        """
        objects = [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"",
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
            self.stream(
                b"\x80", b"/Type/XObject/Subtype/Image/Width 1/Height 1/BitsPerComponent 8/ColorSpace/DeviceGray"
            ),
        ]
        kids = []
        for text in texts:
            content = b"q 595 0 0 842 0 0 cm /I Do Q BT /F1 3 Tf %d Tr 36 720 Td (%b) Tj ET" % (
                3 if hidden else 0,
                text.encode("latin-1"),
            )
            objects.append(self.stream(content))
            objects.append(
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>/XObject<</I 4 0 R>>>>"
                b"/Contents %d 0 R>>" % len(objects)
            )
            kids.append(b"%d 0 R" % len(objects))
        objects[1] = b"<</Type/Pages/Kids[%b]/Count %d>>" % (b" ".join(kids), len(kids))
        return self.write(objects)

    def glyphs(
        self,
        lines: Iterable[Iterable[tuple[str, float]]],
        size: float = 12,
        rows: Sequence[int] = range(1_000),
        tagged: str = "",
    ) -> bytes:
        """A page whose glyphs are drawn where told: a line is (letters that the glyph stands for, x) pairs.

        What the `tagged` ones stand for is told by marked content, not by the font; `rows`: where each line stands.
        """
        codes: dict[str, int] = {}
        content = b"BT /F1 %.1f Tf\n" % size
        for row, line in zip(rows, map(list, lines), strict=False):
            for letters, x in line:
                code = codes.setdefault(letters, len(codes) + 1)
                shown = b"1 0 0 1 %.2f %.2f Tm <%02x> Tj\n" % (x, 760 - 24 * row, code)
                actual = ("\ufeff" + letters).encode("utf-16-be").hex().encode()
                content += b"/Span <</ActualText <%b>>> BDC %bEMC\n" % (actual, shown) if letters in tagged else shown
        content += b"ET"
        mapping = b"".join(
            b"<%02x> <%b>\n" % (code, letters.encode("utf-16-be").hex().encode())
            for letters, code in codes.items()
            if letters not in tagged
        )
        to_unicode = (
            b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n/CMapName /X def /CMapType 2 def\n"
            b"1 begincodespacerange <00> <ff> endcodespacerange\n%d beginbfchar\n%bendbfchar\nendcmap end end"
            % (mapping.count(b"\n"), mapping)
        )
        empty = {"\u200c"}  # drawn, but nothing to see
        shapes = [
            self.stream(b"0 0 d0" if letters in empty else b"500 0 0 0 500 700 d1 0 0 500 700 re f")
            for letters in codes
        ]
        widths = b" ".join(b"0" if letters in empty else b"500" for letters in codes)
        names = b"".join(b"/g%d" % code for code in codes.values())
        drawings = b"".join(b"/g%d %d 0 R" % (code, 6 + code) for code in codes.values())
        return self.write(
            [
                b"<</Type/Catalog/Pages 2 0 R>>",
                b"<</Type/Pages/Kids[6 0 R]/Count 1>>",
                b"<</Type/Font/Subtype/Type3/FontBBox[0 0 500 700]/FontMatrix[0.001 0 0 0.001 0 0]"
                b"/FirstChar 1/LastChar %d/Widths[%b]/Encoding<</Differences[1%b]>>/CharProcs<<%b>>"
                b"/ToUnicode 4 0 R/Resources<<>>>>" % (len(codes), widths, names, drawings),
                self.stream(to_unicode),
                self.stream(content),
                b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<</Font<</F1 3 0 R>>>>/Contents 5 0 R>>",
                *shapes,
            ]
        )


@pytest.fixture(scope="session")
def pdf_maker() -> PdfMaker:
    return PdfMaker()
