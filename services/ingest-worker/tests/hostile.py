"""Files made to hurt, and how reading each of them may end."""

import zlib
from collections.abc import Callable

from .conftest import PdfMaker

READABLE = "Still readable."

ANY = frozenset(
    {"damaged", "no_text_layer", "parser_crashed", "parser_timeout", "parser_out_of_memory", "too_much_text"}
)

Maker = Callable[..., bytes]


def nested_flate_bomb(make: PdfMaker) -> bytes:
    return make.pages([make.deflated(b" " * 200_000_000, times=3)])


def wide_flate_bomb(make: PdfMaker) -> bytes:
    return make.pages([make.deflated(b"BT /F1 12 Tf (A) Tj ET " * 8_000_000)])


def text_bomb(make: PdfMaker) -> bytes:
    lines = b"1 0 0 1 72 %d Tm (AAAA AAAA AAAA AAAA AAAA AAAA) Tj\n" * 8
    content = make.deflated(
        b"BT /F1 12 Tf\n" + b"".join(lines.replace(b"%d", b"%d" % (y % 800)) for y in range(4_000)) + b"ET"
    )
    return make.pages([content] * 15)


def hundred_thousand_pages(make: PdfMaker) -> bytes:
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 100000/Kids[%b]>>" % (b"3 0 R " * 100_000),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
    ]
    return make.write(objects)


def page_tree_cycle(make: PdfMaker) -> bytes:
    objects = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Count 3/Kids[2 0 R 2 0 R 2 0 R]/Parent 2 0 R>>"]
    return make.write(objects)


def deep_page_tree(make: PdfMaker) -> bytes:
    depth = 50_000
    objects = [b"<</Type/Catalog/Pages 2 0 R>>"]
    objects += [b"<</Type/Pages/Count 1/Kids[%d 0 R]>>" % (n + 3) for n in range(depth)]
    objects.append(b"<</Type/Page/MediaBox[0 0 9 9]>>")
    return make.write(objects)


def reference_loop(make: PdfMaker) -> bytes:
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox 4 0 R/Contents 6 0 R/Resources 5 0 R>>",
        b"5 0 R",
        b"4 0 R",
        b"<</Length 6 0 R/Filter 4 0 R>>\nstream\nBT ET\nendstream",
    ]
    return make.write(objects)


def form_recursion(make: PdfMaker) -> bytes:
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>",
        make.stream(b"/X Do " * 1000),
        make.stream(
            b"/X Do /X Do /X Do",
            b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X 5 0 R>>>>",
        ),
    ]
    return make.write(objects)


def billion_laughs_forms(make: PdfMaker) -> bytes:
    levels = 12
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 4 0 R/Resources<</XObject<</X 5 0 R>>>>>>",
        make.stream(b"/X Do"),
    ]
    objects += [
        make.stream(
            b"/X Do " * 20 if level < levels - 1 else b"0 0 1 1 re f",
            b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources<</XObject<</X %d 0 R>>>>" % (6 + level),
        )
        for level in range(levels)
    ]
    return make.write(objects)


def deep_array(make: PdfMaker) -> bytes:
    return make.write([b"<</Type/Catalog/Pages 2 0 R/X %b>>" % (b"[" * 3_000_000), b"<</Type/Pages/Count 0/Kids[]>>"])


def prev_loop(make: PdfMaker) -> bytes:
    return make.write([b"<</Type/Catalog>>"], trailer=b"/Prev 9").replace(b"startxref\n", b"startxref\n0")


def truncated(make: PdfMaker) -> bytes:
    return make.text("Hello, this file is cut.")[:120]


def only_header(make: PdfMaker) -> bytes:
    return b"%PDF-1.7\n"


def random_bytes(make: PdfMaker) -> bytes:
    return b"%PDF-1.7\n" + bytes((n * 7919 + n // 251) % 256 for n in range(2_000_000))


def javascript_without_text(make: PdfMaker) -> bytes:
    return make.pages(
        [make.stream(b"q Q")],
        extra=b"/OpenAction<</S/JavaScript/JS(while(true){app.alert(1)})>>/AA<</WC<</S/Launch/F(/bin/sh)>>>>",
    )


def polyglot_zip(make: PdfMaker) -> bytes:
    return b"PK\x03\x04" + b"\x00" * 2000 + make.text("behind a zip header")


def no_bytes(make: PdfMaker) -> bytes:
    return b""


def a_program(make: PdfMaker) -> bytes:
    return b"MZ\x90\x00" + b"\x00" * 4096


def a_web_page(make: PdfMaker) -> bytes:
    return b"<html><script>%PDF</script></html>"


def object_stream_bomb(make: PdfMaker) -> bytes:
    """The catalog lies in an object stream that claims a million objects."""
    numbers = b"1 0 " * 1_000_000
    packed = zlib.compress(numbers + b"<</Type/Catalog/Pages 2 0 R>>" + b" " * 200_000_000)
    stream = make.stream(packed, b"/Type/ObjStm/N 1000000/First %d/Filter/FlateDecode" % len(numbers))
    return make.write([b"<</Type/Catalog/Pages 2 0 R>>", b"3 0 R", stream])


def cross_reference_bomb(make: PdfMaker) -> bytes:
    """A cross-reference stream of two thousand million entries."""
    body = b"%PDF-1.7\n"
    entries = make.stream(
        zlib.compress(b"\0" * 50_000_000),
        b"/Type/XRef/W[1 8 8]/Index[0 2000000000]/Size 2000000000/Root 1 0 R/Filter/FlateDecode",
    )
    return body + b"1 0 obj\n" + entries + b"\nendobj\nstartxref\n%d\n%%%%EOF\n" % len(body)


def cut_cross_reference(make: PdfMaker) -> bytes:
    content = make.text(READABLE)
    return content[: content.index(b"xref\n") + 40]


def huge_image(make: PdfMaker) -> bytes:
    return _with_image(make, b"/Width 100000/Height 100000/ColorSpace/DeviceRGB/BitsPerComponent 16", b"\x80" * 64)


def broken_jbig2(make: PdfMaker) -> bytes:
    noise = bytes((n * 7919) % 256 for n in range(100_000))
    return _with_image(make, b"/Width 60000/Height 60000/ColorSpace/DeviceGray/Filter/JBIG2Decode", noise)


def broken_jpx(make: PdfMaker) -> bytes:
    head = b"\x00\x00\x00\x0cjP  \r\n\x87\n\xff\x4f\xff\x51" + b"\xff" * 50_000
    return _with_image(make, b"/Width 60000/Height 60000/Filter/JPXDecode", head)


def _with_image(make: PdfMaker, about: bytes, data: bytes) -> bytes:
    return make.write(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</XObject<</I 5 0 R>>>>>>",
            make.stream(b"q 595 0 0 842 0 0 cm /I Do Q"),
            make.stream(data, b"/Type/XObject/Subtype/Image" + about),
        ]
    )


def filter_chain(make: PdfMaker) -> bytes:
    return make.pages([make.stream(b"41>" * 1_000, b"/Filter[%b]" % (b"/ASCIIHexDecode" * 20_000))])


def deep_dictionaries(make: PdfMaker) -> bytes:
    return _readable(make, b"/Deep " + b"<</A" * 200_000)


def deep_content(make: PdfMaker) -> bytes:
    return make.pages([make.deflated(b"q " * 3_000_000 + b"[" * 3_000_000 + b"(" * 3_000_000)])


def _readable(make: PdfMaker, catalog: bytes = b"", *objects: bytes) -> bytes:
    """A page that can be read; `objects` are numbered from 6."""
    return make.write(
        [
            b"<</Type/Catalog/Pages 2 0 R%b>>" % catalog,
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
            make.stream(b"BT /F1 12 Tf 72 720 Td (%b) Tj ET" % READABLE.encode()),
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
            *objects,
        ]
    )


def outline_loop(make: PdfMaker) -> bytes:
    entry = b"<</Title(Round)/Parent 6 0 R/First 7 0 R/Next 7 0 R/Dest[3 0 R/Fit]>>"
    return _readable(make, b"/Outlines 6 0 R", b"<</First 7 0 R/Last 7 0 R/Count 9999999>>", entry)


def name_tree_loop(make: PdfMaker) -> bytes:
    return _readable(
        make, b"/Names<</EmbeddedFiles 6 0 R/Dests 6 0 R>>/PageLabels 6 0 R", b"<</Kids[6 0 R 6 0 R 6 0 R 6 0 R]>>"
    )


def form_field_loop(make: PdfMaker) -> bytes:
    fields = b"/AcroForm<</XFA 7 0 R/Fields[%b]>>" % (b"6 0 R " * 100_000)
    deep = make.deflated(b"<xdp>" + b"<a>" * 5_000_000)
    return _readable(make, fields, b"<</FT/Tx/T(Loop)/Parent 6 0 R/Kids[6 0 R]>>", deep)


def endless_title(make: PdfMaker) -> bytes:
    return _readable(make, b"/Lang(%b)" % (b"a" * 5_000_000)).replace(
        b"trailer\n<<", b"trailer\n<</Info<</Title(%b)/Author 1 0 R>>" % (b"\\(" * 3_000_000)
    )


def absurd_font(make: PdfMaker) -> bytes:
    """A TrueType font that claims 65,535 tables of four thousand million bytes each."""
    tables = b"\x00\x01\x00\x00\xff\xff\x00\x00\x00\x00\x00\x00" + b"glyf\x00\x00\x00\x00\xff\xff\xff\xf0" * 4_000
    return _with_font(
        make,
        b"<</Type/Font/Subtype/TrueType/BaseFont/Absurd/FirstChar 0/LastChar 255/FontDescriptor 6 0 R"
        b"/Encoding/WinAnsiEncoding>>",
        b"<</Type/FontDescriptor/FontName/Absurd/Flags 32/FontBBox[0 0 1000 1000]/FontFile2 7 0 R>>",
        make.stream(tables, b"/Length1 4294967295"),
    )


def absurd_letter_map(make: PdfMaker) -> bytes:
    mapping = b"begincmap 1 begincodespacerange <00> <ffffffff> endcodespacerange " + b"100 beginbfrange " * 1_000
    mapping += b"<00000000> <ffffffff> <0041> " * 50_000 + b"<00> <ff> [%b]" % (b"<0042> " * 100_000)
    return _with_font(
        make,
        b"<</Type/Font/Subtype/Type0/BaseFont/Absurd/Encoding/Identity-H/DescendantFonts[6 0 R]/ToUnicode 7 0 R>>",
        b"<</Type/Font/Subtype/CIDFontType2/BaseFont/Absurd/W[0 2000000000 500]/DW 1000>>",
        make.stream(mapping),
    )


def glyph_that_draws_itself(make: PdfMaker) -> bytes:
    return _with_font(
        make,
        b"<</Type/Font/Subtype/Type3/FontBBox[0 0 1 1]/FontMatrix[1 0 0 1 0 0]/FirstChar 0/LastChar 255/Widths[1]"
        b"/Encoding<</Differences[65/A]>>/CharProcs<</A 6 0 R>>/Resources<</Font<</F1 5 0 R>>>>>>",
        make.stream(b"1 0 d0 BT /F1 1 Tf (AAAAAAAAAAAAAAAA) Tj ET"),
    )


def _with_font(make: PdfMaker, font: bytes, *objects: bytes) -> bytes:
    return make.write(
        [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Count 1/Kids[3 0 R]>>",
            b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
            make.stream(b"BT /F1 12 Tf 72 720 Td (AAAA) Tj ET"),
            font,
            *objects,
        ]
    )


def unknown_encryption(make: PdfMaker) -> bytes:
    return make.text(READABLE).replace(b"trailer\n<<", b"trailer\n<</Encrypt<</Filter/Nobody/V 99/R 99>>/ID[()()]")


def absurd_encryption(make: PdfMaker) -> bytes:
    about = b"/Filter/Standard/V 5/R 6/Length 4096/P -1/O(%b)/U(%b)/OE()/UE()/Perms()" % (b"o" * 48, b"u" * 48)
    strange = about + b"/CF<</StdCF<</CFM/AESV3/Length 99999>>>>/StmF/StdCF/StrF/StdCF"
    return make.text(READABLE).replace(b"trailer\n<<", b"trailer\n<</Encrypt<<%b>>/ID[()()]" % strange)


def polyglot_web_page(make: PdfMaker) -> bytes:
    return make.text(READABLE).replace(b"%PDF-1.7", b"<html><script>alert(1)</script><!--\n%PDF-1.7", 1) + b"--></html>"


EXPECTED: dict[Maker, frozenset[str]] = {
    nested_flate_bomb: ANY,
    wide_flate_bomb: ANY,
    text_bomb: ANY | {"ready"},
    hundred_thousand_pages: frozenset({"too_many_pages"}),
    page_tree_cycle: ANY,
    deep_page_tree: ANY,
    reference_loop: ANY,
    form_recursion: ANY,
    billion_laughs_forms: ANY,
    deep_array: ANY,
    prev_loop: ANY,
    truncated: ANY,
    only_header: frozenset({"damaged"}),
    random_bytes: frozenset({"damaged"}),
    javascript_without_text: frozenset({"no_text_layer"}),
    polyglot_zip: frozenset({"not_a_pdf"}),
    no_bytes: frozenset({"empty"}),
    a_program: frozenset({"not_a_pdf"}),
    a_web_page: frozenset({"not_a_pdf"}),
    object_stream_bomb: ANY | {"ready"},
    cross_reference_bomb: ANY,
    cut_cross_reference: ANY | {"ready"},
    huge_image: frozenset({"no_text_layer"}),
    broken_jbig2: frozenset({"no_text_layer"}),
    broken_jpx: frozenset({"no_text_layer"}),
    filter_chain: ANY,
    deep_dictionaries: ANY | {"ready"},
    deep_content: ANY,
    outline_loop: frozenset({"ready"}),
    name_tree_loop: frozenset({"ready"}),
    form_field_loop: frozenset({"ready"}),
    endless_title: ANY | {"ready"},
    absurd_font: ANY | {"ready"},
    absurd_letter_map: ANY | {"ready"},
    glyph_that_draws_itself: ANY | {"ready"},
    unknown_encryption: frozenset({"encrypted", "damaged"}),
    absurd_encryption: frozenset({"encrypted", "damaged"}),
    polyglot_web_page: frozenset({"ready", "damaged"}),
}
