"""HTTP of chats as files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Path, Query, Response
from starlette.responses import StreamingResponse

from docuchat_chat.conversations.errors import ChatNotFound
from docuchat_chat.conversations.schemas import ChatView, PlacedMessageView
from docuchat_chat.transcripts.markdown import MarkdownTranscript
from docuchat_chat.transcripts.service import Transcript, TranscriptService
from docuchat_common.http.caller import Caller
from docuchat_common.http.downloads import content_disposition
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import Responses, raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import ChatId

router = APIRouter(prefix="/v1", route_class=JsonRoute)

_FILE: Final[Responses] = {
    200: {
        "description": "The file.",
        "headers": {"Content-Disposition": {"description": "An attachment.", "schema": {"type": "string"}}},
        "content": {
            "text/markdown": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


@router.get(
    "/chats/{chat_id}/export",
    tags=["chats"],
    summary="Download a chat",
    response_class=Response,
    responses=_FILE,
)
@raises(ChatNotFound)
async def export_chat(
    chat_id: Annotated[UUID, Path(description="Id of a chat.")],
    caller: Annotated[Caller, requires("chats.use")],
    transcripts: Annotated[TranscriptService, provided("transcripts")],
    file_format: Annotated[
        Literal["markdown", "json"],
        Query(alias="format", description="`markdown`: to read, with citations as footnotes; `json`: all fields."),
    ] = "markdown",
) -> Response:
    """Download what is shown of a chat, with what you may still see of the documents that it cites."""
    transcript = await transcripts.open(caller, ChatId(chat_id))
    name = transcript.chat.title or "chat"
    if file_format == "json":
        headers = {"Content-Disposition": content_disposition(f"{name}.json")}
        return StreamingResponse(_json(transcript), media_type="application/json", headers=headers)
    headers = {"Content-Disposition": content_disposition(f"{name}.md")}
    return StreamingResponse(_markdown(transcript), media_type="text/markdown; charset=utf-8", headers=headers)


async def _markdown(transcript: Transcript) -> AsyncIterator[str]:
    writer = MarkdownTranscript(transcript.chat.title, transcript.first)
    yield writer.head()
    async for page in transcript.pages:
        yield "".join(map(writer.add, page))


async def _json(transcript: Transcript) -> AsyncIterator[bytes]:
    """Yield one object: the chat's fields, and its messages under `messages`."""
    head = orjson.dumps(ChatView.of(transcript.chat).model_dump(mode="json", exclude={"match"}))
    yield head[:-1] + b',"messages":['
    separator = b""
    async for page in transcript.pages:
        for message in page:
            yield separator + PlacedMessageView.of(message).model_dump_json().encode()
            separator = b","
    yield b"]}"
