"""HTTP of embeddings."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Response

from docuchat_chat.openai_api.embedding_schemas import EmbeddingBody, EmbeddingList, write_embeddings
from docuchat_chat.openai_api.embeddings import Embeddings
from docuchat_chat.openai_api.errors import EmbeddingsNotInPlan, InvalidParameter, ModelNotFound, UnsupportedParameter
from docuchat_chat.openai_api.routes import ConversationRoute
from docuchat_common.contracts.holds import HOLD_REFUSED
from docuchat_common.http.caller import Caller
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_models.errors import (
    EmbeddingInvalid,
    EmbeddingRefused,
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
)

router = APIRouter(prefix="/v1", route_class=ConversationRoute, tags=["openai"])


@router.post("/embeddings", summary="Embed texts as OpenAI's clients ask for it", response_model=EmbeddingList)
@raises(
    ModelNotFound,
    UnsupportedParameter,
    InvalidParameter,
    EmbeddingsNotInPlan,
    *HOLD_REFUSED,
    EmbeddingInvalid,
    EmbeddingRefused,
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
)
async def create_embeddings(
    body: EmbeddingBody,
    caller: Annotated[Caller, requires("chats.use")],
    embeddings: Annotated[Embeddings, provided("embeddings")],
) -> Response:
    """Embed texts with the model in whose space documents are searched.

    One request is one entry of the ledger, held against the quota before; `requests` of a tenant's quota says how many
    there may be in a month, 0 that they are not part of its plan.
    """
    texts = body.texts()
    batch = await embeddings.embed(caller, body.model, texts, body.input_type, body.dimensions)
    as_base64 = body.encoding_format == "base64"
    content = await asyncio.to_thread(write_embeddings, embeddings.model, batch, as_base64=as_base64)
    return Response(content, media_type="application/json")
