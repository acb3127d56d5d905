"""What documents say is harmless to whoever renders it, in the same way wherever it is shown."""

from __future__ import annotations

import uuid

from services.gateway.tests.conftest import PDF, Gateway

from docuchat_common.defusing import defuse
from docuchat_common.ids import ChunkId, CollectionId, DocumentId
from docuchat_gateway.documents.schemas import PageTextView, PassageView
from docuchat_knowledge.documents.domain import PageText, Passage, PassageText

ACTIVE = "<img src=x onerror=alert(1)> ![p](http://evil.example)"
SHOWN = "< img src=x onerror=alert(1)> ! [p] (http://evil.example)"


def test_pages_and_passages_read_as_their_quotes_do() -> None:
    text = f"First.\f{ACTIVE} \u202eLast."
    chunk = PassageText(ChunkId(uuid.uuid4()), 0, 1, 2, 0, len(text), text, 9)
    ids = DocumentId(uuid.uuid4()), CollectionId(uuid.uuid4())
    passage = PassageView.of(Passage(*ids, ACTIVE, f"{ACTIVE}.pdf", chunk, (chunk,), ()))
    page = PageTextView.of(PageText(ids[0], 1, 1, text))

    assert passage.passage.text == passage.before[0].text == page.text == f"First.\n{SHOWN} Last."
    assert (passage.title, passage.filename) == (SHOWN, f"{SHOWN}.pdf")
    assert defuse(f"{ACTIVE} \u202eLast.") in passage.passage.text  # as an answer quotes it


async def test_titles_are_shown_as_searches_show_them(gateway: Gateway) -> None:
    uploaded = await (await gateway.upload(title=ACTIVE)).json()
    again = await (await gateway.upload(PDF, title="Other")).json()
    listed = await (await gateway.call("GET", "/v1/files", headers=gateway.headers())).json()

    assert uploaded["title"] == again["title"] == listed["items"][0]["title"] == SHOWN
