"""Commands: ask, search, and what it cost."""

from __future__ import annotations

import asyncio
import sys
from contextlib import nullcontext, suppress
from typing import Annotated, Literal
from uuid import UUID

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.answers import AnswerStream
from docuchat_client.cli.collections import collection_id
from docuchat_client.cli.session import (
    AsJson,
    Limit,
    print_json,
    run,
    screen,
    with_client,
)
from docuchat_client.errors import DocuChatError
from docuchat_client.rendering import moment, one_line, pages, usage_rows

_EARLY_ENDS = {
    "length": "The answer was cut: it reached the longest length that is allowed.",
    "stopped": "The answer was stopped.",
    "content_filter": "The answer was cut by the model's filter.",
}


def _an_id(value: str) -> str:
    try:
        return str(UUID(value))
    except ValueError as error:
        raise typer.BadParameter(
            f"{value} is no id; `docuchat files list` and `docuchat chats list` show them."
        ) from error


def ask(
    question: Annotated[str, typer.Argument(help="What you want to know; - reads it from standard input.")],
    chat: Annotated[str | None, typer.Option(help="The chat to go on with.", parser=_an_id)] = None,
    document: Annotated[
        list[str] | None, typer.Option(help="Search this document only; may be repeated.", parser=_an_id)
    ] = None,
    collection: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Search this collection only.")] = None,
    model: Annotated[str | None, typer.Option(help="The model, when the service allows another.")] = None,
    channel: Annotated[Literal["websocket", "sse"], typer.Option(help="How the answer comes.")] = "websocket",
    as_json: AsJson = False,
) -> None:
    """Ask a question; the answer streams, its citations follow."""
    text = sys.stdin.read() if question == "-" else question
    documents = document or None

    async def whole(client: AsyncDocuChat) -> None:
        where = await collection_id(client, collection)
        print_json(await client.ask(text, chat_id=chat, model=model, document_ids=documents, collection_id=where))

    async def streamed(client: AsyncDocuChat) -> None:
        where = await collection_id(client, collection)
        async with client.stream(
            text, chat_id=chat, model=model, document_ids=documents, collection_id=where, channel=channel
        ) as answer:
            try:
                await _show(answer)
            except asyncio.CancelledError:
                with suppress(DocuChatError, TimeoutError):
                    async with asyncio.timeout(2):
                        await answer.stop()
                raise

    run(with_client(whole if as_json else streamed))


async def _show(answer: AnswerStream) -> None:
    words = answer.text()
    with screen.out.status("Reading …") if screen.is_terminal else nullcontext():
        first = await anext(words, "")
    try:
        screen.words(first)
        async for word in words:
            screen.words(word)
    finally:
        screen.words("\n")
    if answer.citations:
        screen.line()
        screen.citations(answer.citations)
    if early := _EARLY_ENDS.get(answer.finish_reason or ""):
        screen.note(early)
    if answer.chat_id is not None and screen.is_terminal:
        screen.note(f"\nGo on with: docuchat ask --chat {answer.chat_id} …")


def search(
    query: str,
    limit: Limit = 6,
    document: Annotated[str | None, typer.Option(help="Search this document only.", parser=_an_id)] = None,
    as_json: AsJson = False,
) -> None:
    """Show the passages that a question would be answered from."""

    async def show(client: AsyncDocuChat) -> None:
        results = await client.search(query, limit=limit, document_id=document)
        if as_json:
            screen.json("[" + ",\n".join(result.model_dump_json() for result in results) + "]")
            return
        for number, result in enumerate(results, 1):
            where = ", ".join(filter(None, (one_line(result.title), pages(result.page, result.page_to))))
            screen.line(f"{number}. {where}  {result.score:.3f}", style="bold")
            screen.line(f"   {one_line(result.text)[:300]}")
        if not results:
            screen.note("Nothing was found.")

    run(with_client(show))


def usage(as_json: AsJson = False) -> None:
    """Show tokens, cost and what is left of the quota."""

    async def show(client: AsyncDocuChat) -> None:
        figures = await client.usage()
        if as_json:
            print_json(figures)
            return
        screen.rows(("", "input", "output", "embedding", "total", "cost"), usage_rows(figures))
        quota = figures.quota
        if quota is not None and quota.tokens is not None and quota.tokens.limit is not None:
            left = quota.tokens.remaining if quota.tokens.remaining is not None else 0
            screen.line(f"{left:,} of {quota.tokens.limit:,} tokens left until {moment(quota.resets_at)}".rstrip())

    run(with_client(show))
