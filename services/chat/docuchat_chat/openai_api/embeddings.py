"""Embeddings of any texts, in the space in which documents are searched: held, then asked for, then booked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from docuchat_chat.answers.ports import EmbeddingHolds
from docuchat_chat.answers.service import released_unless_billed
from docuchat_chat.answers.terms import payers
from docuchat_chat.openai_api.errors import EmbeddingsNotInPlan, InvalidParameter, ModelNotFound, UnsupportedParameter
from docuchat_common.contracts.holds import HoldUnit
from docuchat_common.errors import DocuChatError, QuotaExceeded
from docuchat_common.http.caller import Caller
from docuchat_common.ids import HoldId, uuid7
from docuchat_common.metering import Metering, ProviderCall, TokenBounds, Used, bounded, call_id_of, used_of
from docuchat_models.embeddings import Embedder, EmbeddingBatch, normalize
from docuchat_models.errors import billed
from docuchat_models.openai_embeddings import LONGEST_INPUT, MOST_TOKENS
from docuchat_models.opening import SHORTENABLE

InputType = Literal["query", "passage"]


class Embeddings:
    """Embeds texts of programs that bring their own index; one request is one call of the provider and one entry."""

    def __init__(
        self,
        embedder: Embedder,
        count: Callable[[str], int],
        holds: EmbeddingHolds,
        metering: Metering,
        owner: str,
    ) -> None:
        """`count` gives the tokens of a text; `holds` count requests beside tokens."""
        self._embedder = embedder
        self._count = count
        self._holds = holds
        self._metering = metering
        self._owner = owner

    @property
    def model(self) -> str:
        """The one model, in whose space documents are searched."""
        return self._embedder.space.model

    async def embed(
        self, caller: Caller, model: str, texts: Sequence[str], input_type: InputType | None, dimensions: int | None
    ) -> EmbeddingBatch:
        """Return a vector of unit length for each text, with the tokens that were booked.

        Raises ModelNotFound, InvalidParameter for what is too long, UnsupportedParameter for a dimension that the
        model does not have, EmbeddingsNotInPlan, QuotaExceeded, and what the provider raises.
        """
        space = self._embedder.space
        if model not in (space.model, f"{space.provider}/{space.model}"):
            raise ModelNotFound(f"Texts are embedded by {space.model!r} alone; name it as the model.", param="model")
        self._require_dimension(dimensions)
        if input_type is not None:
            texts = [(space.as_query if input_type == "query" else space.as_passage)(text) for text in texts]
        tokens = await asyncio.to_thread(self._measure, texts)  # up to a megabyte, while others are answered
        hold = await self._hold(caller, tokens)
        async with released_unless_billed(self._holds, hold):
            batch = await self._ask(caller, texts, tokens, hold)
        if dimensions is not None and dimensions < space.dimension:
            return EmbeddingBatch(_shortened(batch.vectors, dimensions), batch.tokens, batch.estimated)
        return batch

    def _require_dimension(self, dimensions: int | None) -> None:
        space = self._embedder.space
        if dimensions is None or dimensions == space.dimension:
            return
        if space.model not in SHORTENABLE or dimensions > space.dimension:
            raise UnsupportedParameter.named("dimensions", f"{space.model} gives {space.dimension}, so leave it out")

    def _measure(self, texts: Sequence[str]) -> int:
        total = 0
        for index, text in enumerate(texts):
            tokens = self._count(text)
            if tokens > LONGEST_INPUT:
                raise InvalidParameter.named(f"input[{index}]", f"has {tokens} tokens; {LONGEST_INPUT} are the most")
            total += tokens
            if total > MOST_TOKENS:
                raise InvalidParameter.named("input", f"has more than {MOST_TOKENS} tokens in all; send it in parts")
        return total

    async def _hold(self, caller: Caller, tokens: int) -> HoldId:
        try:
            return (await self._holds.open(caller, self._embedder.space, tokens, 0)).id
        except QuotaExceeded as error:
            if error.extensions.get("unit") == HoldUnit.REQUESTS and error.extensions.get("limit") == 0:
                raise EmbeddingsNotInPlan from error
            raise

    async def _ask(self, caller: Caller, texts: Sequence[str], tokens: int, hold_id: HoldId) -> EmbeddingBatch:
        space = self._embedder.space
        call = ProviderCall(
            id=call_id_of(uuid7(), "embeddings"),
            tenant_id=caller.tenant_id,
            kind="embedding",
            provider=space.provider,
            model=space.model,
            expected_input_tokens=tokens,
            owner=self._owner,
            subjects=payers(caller, None),
            hold_id=hold_id,
        )
        async with self._metering.call(call) as made:
            try:
                batch = await self._embedder.embed(texts)
            except DocuChatError as error:
                made.outcome = billed(error, tokens)
                raise
            if batch.estimated:
                used = Used(batch.tokens, estimated=True)
            else:
                used = used_of(bounded(batch.tokens, batch.counted or tokens, TokenBounds(), "input_tokens"))
            made.used(used)
        return EmbeddingBatch(batch.vectors, used.input_tokens, used.estimated)


def _shortened(vectors: npt.NDArray[np.float32], dimensions: int) -> npt.NDArray[np.float32]:
    """Return the beginnings of vectors at unit length, which for these models are vectors of the shorter space."""
    return normalize(np.ascontiguousarray(vectors[:, :dimensions]))
