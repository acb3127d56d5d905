"""Ingestion as LangChain's tutorials build it: PyPDFLoader, token splitter, PGVector. Run by ingest.py."""

import json
import logging
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from langchain_community.document_loaders import PyPDFLoader
from langchain_core.embeddings import Embeddings
from langchain_postgres import PGVector
from langchain_text_splitters import RecursiveCharacterTextSplitter
from wordllama import WordLlama


class WordLlamaEmbeddings(Embeddings):
    def __init__(self) -> None:
        self._model = WordLlama.load(cache_dir=Path(find_spec("wordllama").origin).parent, disable_download=True)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._model.embed(texts, norm=True).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def main() -> None:
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # its warnings about fonts would cost it time
    url, size, overlap, *files = sys.argv[1:]
    store = PGVector(
        embeddings=WordLlamaEmbeddings(),
        collection_name="bench",
        connection=url.replace("postgresql://", "postgresql+psycopg://"),
        use_jsonb=True,
    )
    splitter = RecursiveCharacterTextSplitter.from_tiktoken_encoder(
        encoding_name="cl100k_base", chunk_size=int(size), chunk_overlap=int(overlap)
    )
    cpu, started, pages = time.process_time(), time.perf_counter(), 0
    for file in files:
        loaded = PyPDFLoader(file).load()
        pages += len(loaded)
        # PostgreSQL takes no NUL in a text, which pypdf gives for some glyphs
        for document in loaded:
            document.page_content = document.page_content.replace("\x00", "")
        store.add_documents(splitter.split_documents(loaded))
    print(json.dumps({"cpu": time.process_time() - cpu, "seconds": time.perf_counter() - started, "pages": pages}))


main()
