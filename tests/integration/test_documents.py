"""The project's own documents, in four languages: each is read as it was written, or fails with its reason."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

from docuchat_testkit.product import Product


def words(text: str) -> Counter[str]:
    """Words as a reader compares them: letters of one shape are one, half-spaces and marks do not count."""
    text = unicodedata.normalize("NFKC", text).replace("ي", "ی").replace("ك", "ک").replace("\u200c", "").casefold()
    return Counter(re.findall(r"\w+", "".join(letter for letter in text if not unicodedata.combining(letter))))


@pytest.mark.parametrize("name", ["handbook-en", "handbook-de", "guide-fa", "notice-ar"])
async def test_a_document_is_stored_with_the_words_it_was_written_with(
    embedded_product: Product, documents: Path, name: str
) -> None:
    written = words(await asyncio.to_thread((documents / f"{name}.md").read_text))
    async with embedded_product.user(await embedded_product.new_tenant()) as user:
        document = await user.ready(documents / f"{name}.pdf")
    stored = words(await embedded_product.stored_text(document["id"]))
    missing = written - stored
    assert 1 - missing.total() / written.total() >= 0.98, missing


async def test_a_scan_without_a_text_layer_fails_and_says_so(embedded_product: Product, documents: Path) -> None:
    async with embedded_product.user(await embedded_product.new_tenant()) as user:
        document = await user.settled((await user.upload(documents / "scan-fa.pdf"))["id"])
    assert (document["status"], document["error"]["code"]) == ("failed", "no_text_layer")
    assert document["chunks"] == 0
