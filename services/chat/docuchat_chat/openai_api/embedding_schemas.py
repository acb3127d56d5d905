"""Requests and responses of embeddings, as OpenAI's clients know them."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final, Literal

import numpy as np
import orjson
import tiktoken
from pydantic import BaseModel, Field, WithJsonSchema

from docuchat_chat.openai_api.embeddings import InputType
from docuchat_chat.openai_api.errors import InvalidParameter
from docuchat_chat.openai_api.parameters import Ignored, OpenAIBody
from docuchat_common.http.json_body import StrictBody, Whole
from docuchat_models.embeddings import EmbeddingBatch
from docuchat_models.openai_embeddings import MOST_INPUTS

_TOKENS: Final = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_INPUT: Final = {
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "minItems": 1, "maxItems": MOST_INPUTS, "items": {"type": "string", "minLength": 1}},
        {**_TOKENS, "minItems": 1},
        {"type": "array", "minItems": 1, "maxItems": MOST_INPUTS, "items": {**_TOKENS, "minItems": 1}},
    ]
}
VOCABULARY: Final = "cl100k_base"
"""What tokens are read in: that of OpenAI's embedding models, which clients take for those that they do not know."""


class EmbeddingExtension(StrictBody):
    """What is asked besides, in the product's own words."""

    input_type: InputType | None = Field(
        default=None,
        description="What the texts are, for models that are told by a prefix (e5, nomic, …); without it they are sent "
        "as they are.",
    )


class EmbeddingBody(OpenAIBody):
    """Texts that are to be embedded."""

    model: str = Field(min_length=1, max_length=200, description="The embedding model of `GET /v1/models`.")
    input: Annotated[Any, WithJsonSchema(_INPUT)] = Field(
        description=f"A text, or up to {MOST_INPUTS} of them; or their tokens, in `{VOCABULARY}`."
    )
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="`base64` is float32, little endian; four times smaller than numbers."
    )
    dimensions: Whole | None = Field(
        default=None, ge=1, le=4000, description="Fewer than the model's own, where the model allows it."
    )
    docuchat: EmbeddingExtension | None = Field(default=None, description="What OpenAI has no words for.")
    user: Ignored = None

    @property
    def input_type(self) -> InputType | None:
        """What the texts are."""
        return None if self.docuchat is None else self.docuchat.input_type

    def texts(self) -> list[str]:
        """Return the texts. Raises InvalidParameter."""
        given = self.input
        items = given if isinstance(given, list) and not all(_is_token(each) for each in given) else [given]
        if not items or given == []:
            raise InvalidParameter.named("input", "is empty; send at least one text")
        if len(items) > MOST_INPUTS:
            raise InvalidParameter.named("input", f"has more than {MOST_INPUTS} texts; send them in parts")
        return [_text_of(item, index) for index, item in enumerate(items)]


class EmbeddingItem(BaseModel):
    """The vector of one text."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    """The tokens of the call, as they are booked."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    """The vectors, in the order of the texts."""

    object: Literal["list"] = "list"
    data: list[EmbeddingItem]
    model: str
    usage: EmbeddingUsage


def write_embeddings(model: str, batch: EmbeddingBatch, *, as_base64: bool) -> bytes:
    """Return the JSON of an EmbeddingList, straight from the array: millions of numbers are no objects on the way.

    A vector at a time, so that other threads have their turn: the whole can take half a second.
    """
    rows = np.ascontiguousarray(batch.vectors, dtype="<f4")
    data = [
        orjson.dumps(
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(row.tobytes()).decode() if as_base64 else row,
            },
            option=orjson.OPT_SERIALIZE_NUMPY,
        )
        for index, row in enumerate(rows)
    ]
    usage = {"prompt_tokens": batch.tokens, "total_tokens": batch.tokens}
    rest = orjson.dumps({"model": model, "usage": usage}).removeprefix(b"{")
    return b'{"object":"list","data":[' + b",".join(data) + b"]," + rest


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _text_of(item: Any, index: int) -> str:
    param = f"input[{index}]"
    if isinstance(item, str):
        text = item.replace("\x00", "")
        if not text:
            raise InvalidParameter.named(param, "is empty")
        return text
    if isinstance(item, list) and item and all(_is_token(each) for each in item):
        try:
            return tiktoken.get_encoding(VOCABULARY).decode(item)
        except (KeyError, OverflowError, ValueError) as error:
            raise InvalidParameter.named(param, f"has a number that is no token of {VOCABULARY}") from error
    raise InvalidParameter.named(param, "is neither a text nor a list of tokens")
