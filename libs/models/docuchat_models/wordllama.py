"""WordLlama: embeddings with no provider; the weights come with its wheel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt

from docuchat_models.embeddings import EmbeddingBatch, normalize
from docuchat_models.spaces import EmbeddingSpace


class WordLlamaEmbedder:
    """WordLlama's static token embeddings, 256 dimensions (https://github.com/dleemiller/WordLlama).

    Token vectors distilled from a large language model, averaged: no network, no GPU, about 20,000 chunks a second.
    Made for
    English first. An empty text has the zero vector.
    """

    SPACE = EmbeddingSpace(provider="wordllama", model="l2_supercat", dimension=256)
    _SLICE = 256

    def __init__(self) -> None:
        """Open the files in the wheel's own folder; takes about 0.1 s and touches no network.

        The package's own loader copies the weights twice, 48 MB; here they stay a map of the file, which all processes
        of a machine share, and rows become float32 as they are used: the same numbers.
        """
        from tokenizers import Tokenizer

        package = find_spec("wordllama")
        if package is None or package.origin is None:
            raise RuntimeError("wordllama is not installed")
        folder = Path(package.origin).parent
        self._weights = _map_weights(folder / "weights" / "l2_supercat_256.safetensors", self.SPACE.dimension)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()

    @property
    def space(self) -> EmbeddingSpace:
        """Where the vectors live."""
        return self.SPACE

    @property
    def encoding_name(self) -> str:
        """Name of its vocabulary."""
        return self.SPACE.model

    def count(self, text: str) -> int:
        """Tokens of the text in its own vocabulary (that of Llama 2)."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    async def embed(self, texts: Sequence[str]) -> EmbeddingBatch:
        """Embed any number of texts, in a thread, in slices, so that the event loop and other threads go on."""
        if not texts:
            return EmbeddingBatch(np.empty((0, self.SPACE.dimension), np.float32), 0, estimated=False)
        if len(texts) == 1 and len(texts[0]) < 4_000:  # a question takes 50 µs, a thread more
            vectors, tokens = self._embed_slice(texts)
            return EmbeddingBatch(vectors, tokens, estimated=False)
        parts = [
            await asyncio.to_thread(self._embed_slice, texts[start : start + self._SLICE])
            for start in range(0, len(texts), self._SLICE)
        ]
        return EmbeddingBatch(
            np.concatenate([vectors for vectors, _ in parts]), sum(tokens for _, tokens in parts), estimated=False
        )

    def _embed_slice(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], int]:
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        vectors = np.zeros((len(encodings), self.SPACE.dimension), np.float32)
        for row, encoding in enumerate(encodings):
            if encoding.ids:
                vectors[row] = self._weights[encoding.ids].astype(np.float32).sum(axis=0)
        return normalize(vectors), sum(map(len, encodings))


def _map_weights(path: Path, dimension: int) -> npt.NDArray[np.float16]:
    """The one matrix (vocabulary, dimension) of a safetensors file: 8 bytes, the length of a JSON header; it; data."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        tensors = {name: entry for name, entry in json.loads(file.read(size)).items() if name != "__metadata__"}
    (tensor,) = tensors.values()
    rows, columns = tensor["shape"]
    if tensor["dtype"] != "F16" or columns != dimension:
        raise RuntimeError(f"{path.name} holds {tensor['dtype']} of {columns} dimensions, not F16 of {dimension}")
    return np.memmap(path, "<f2", mode="r", offset=8 + size + tensor["data_offsets"][0], shape=(rows, columns))
