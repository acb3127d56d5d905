"""Command: everything that happens to one's documents and answers, as it happens."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.chat_models import UserEvent
from docuchat_client.cli.session import run, screen, with_client
from docuchat_client.models import End, Start
from docuchat_client.rendering import document_state, one_line

_SAID = {
    "hello": "from now on",
    "reset": "some events are lost; load anew what you show",
    "away": "nothing can be told just now",
    "back": "it goes on",
}


def events(
    since: Annotated[str | None, typer.Option(metavar="ID", help="Go on behind this event.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="End after so many events; else at Ctrl-C.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON each, with its id.")] = False,
) -> None:
    """Follow your documents and answers, wherever they were uploaded and asked."""

    async def follow(client: AsyncDocuChat) -> None:
        last, count = since, 0
        try:
            async with contextlib.aclosing(client.events(since=since)) as happening:
                async for event in happening:
                    last, count = event.id or last, count + 1
                    if as_json:
                        screen.words(event.model_dump_json() + "\n")
                    elif told := _told(event):
                        screen.line(told)
                    if count == limit:
                        break
        except asyncio.CancelledError:
            if last:
                screen.note(f"Go on with: docuchat events --since {last}")
            raise

    run(with_client(follow))


def _told(event: UserEvent) -> str:
    """An event in a line; empty for the words of answers, which come with their chat, or by --json."""
    said, data = event.of_answer, event.data
    match event.type:
        case "start" if isinstance(said, Start):
            told = f"answer {said.turn_id} begins in chat {said.chat_id}"
        case "end" if isinstance(said, End):
            told = f"answer {event.turn_id} ends ({said.finish_reason}), {said.usage.total_tokens:,} tokens"
        case "error":
            told = f"answer {event.turn_id} fails: {data.get('message')}"
        case "document" if (document := event.document) is not None:
            told = f"document {document.id} {document.title or document.filename}: {document_state(document)}"
        case "document_deleted":
            told = f"document {data.get('id')} is deleted"
        case "chat":
            told = f"chat {data.get('id')} is called {data.get('title')}"
        case kind:
            told = _SAID.get(kind, "")
    return one_line(told)
