"""The unavoidable work of ingestion: text, chunks, vectors, COPY into an indexed table. Run by ingest.py."""

import asyncio
import json
import struct
import sys
import time
import uuid
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import numpy as np
import pypdfium2
from semantic_text_splitter import TextSplitter
from wordllama import WordLlama

TABLE = """
CREATE EXTENSION vector;
CREATE TABLE chunks (id uuid PRIMARY KEY, tenant_id bigint NOT NULL, document text NOT NULL, page integer NOT NULL,
    text text NOT NULL, words tsvector GENERATED ALWAYS AS (to_tsvector('german', text)) STORED,
    embedding halfvec(256));
CREATE INDEX ON chunks USING hnsw (embedding halfvec_cosine_ops);
CREATE INDEX ON chunks USING gin (words);
"""


async def main() -> None:
    url, size, overlap, *files = sys.argv[1:]
    model = WordLlama.load(cache_dir=Path(find_spec("wordllama").origin).parent, disable_download=True)
    splitter = TextSplitter.from_tiktoken_model("gpt-4", int(size), overlap=int(overlap))
    splitter.chunks("warm up")
    connection = await asyncpg.connect(url)
    await connection.execute(TABLE)
    await connection.set_type_codec("halfvec", schema="public", encoder=bytes, decoder=bytes, format="binary")
    cpu, started, pages = time.process_time(), time.perf_counter(), 0
    for file in files:
        pdf = pypdfium2.PdfDocument(file)
        chunks = []
        for number in range(len(pdf)):
            text = pdf[number].get_textpage().get_text_bounded()
            chunks += [(number + 1, chunk) for chunk in splitter.chunks(text)]
        pages += len(pdf)
        vectors = model.embed([chunk for _, chunk in chunks], norm=True).astype(">f2")
        header = struct.pack(">HH", vectors.shape[1], 0)
        rows = [
            (uuid.uuid4(), 1, file, page, chunk, header + vector.tobytes())
            for (page, chunk), vector in zip(chunks, np.asarray(vectors), strict=True)
        ]
        columns = ["id", "tenant_id", "document", "page", "text", "embedding"]
        await connection.copy_records_to_table("chunks", records=rows, columns=columns)
    print(json.dumps({"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - started, "pages": pages}))
    await connection.close()


asyncio.run(main())
