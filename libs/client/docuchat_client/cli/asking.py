"""Commands: ask, search, and what it cost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
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
from docuchat_client.errors import DocuChatError, Forbidden, InvalidInput
from docuchat_client.rendering import chatbot_usage_row, document_state, moment, one_line, pages, usage_rows

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
    chatbot: Annotated[str | None, typer.Option(metavar="NAME|ID", help="The chatbot that is asked.")] = None,
    attach: Annotated[
        list[Path] | None,
        typer.Option(exists=True, dir_okay=False, readable=True, help="A file to ask of as well; repeatable."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model, when the service allows another.")] = None,
    channel: Annotated[Literal["websocket", "sse"], typer.Option(help="How the answer comes.")] = "websocket",
    as_json: AsJson = False,
) -> None:
    """Ask a question; the answer streams, its citations follow."""
    text = sys.stdin.read() if question == "-" else question
    documents = document or None

    async def answered(client: AsyncDocuChat) -> None:
        where = await collection_id(client, collection)
        bot = None if chatbot is None else (await client.find_chatbot(chatbot)).id
        files = await _attached(client, attach or ())
        if as_json:
            print_json(
                await client.ask(
                    text, chat_id=chat, model=model, document_ids=documents, collection_id=where, chatbot_id=bot,
                    attachments=files,
                )
            )  # fmt: skip
            return
        await show_answer(
            client.stream(
                text, chat_id=chat, model=model, document_ids=documents, collection_id=where, chatbot_id=bot,
                attachments=files, channel=channel,
            )
        )  # fmt: skip

    run(with_client(answered))


async def _attached(client: AsyncDocuChat, paths: Sequence[Path]) -> list[UUID]:
    """Send files for a question; they are ready, all of them."""
    sent = [(path, await client.attach(path)) for path in paths]
    for path, document in sent:
        settled = document if document.is_settled else await client.wait_until_settled(document.id)
        if settled.status == "failed":
            raise InvalidInput(f"{path.name} {document_state(settled)}", code="attachment_failed")
    return [document.id for _, document in sent]


async def show_answer(stream: AnswerStream) -> None:
    """Show an answer as it comes; who interrupts it stops it at the service, too."""
    async with stream as answer:
        try:
            await _show(answer)
        except asyncio.CancelledError:
            with suppress(DocuChatError, TimeoutError):
                async with asyncio.timeout(2):
                    await answer.stop()
            raise


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
    for sentence in answer.own_knowledge:
        screen.line(f"Not from the documents: {one_line(sentence)}", style="dim")
    if answer.fallback is not None:
        screen.note(f"{answer.model} answered in place of {answer.fallback.asked}: {answer.fallback.reason}.")
    if early := _EARLY_ENDS.get(answer.finish_reason or ""):
        screen.note(early)
    if answer.chat_id is not None and screen.is_terminal:
        bot = f" --chatbot {answer.chatbot_id}" if answer.chatbot_id else ""
        screen.note(f"\nGo on with: docuchat ask{bot} --chat {answer.chat_id} …")
        screen.note(f"Rate it with: docuchat feedback {answer.message_id} up")


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
        if figures.by_chatbot:
            names: dict[UUID, str] = {}
            with suppress(Forbidden):  # a key that may see what was used, and no chatbot
                names = {chatbot.id: chatbot.name async for chatbot in client.chatbots()}
            screen.line()
            headings = ("chatbot", "messages", "tokens", "of", "cost")
            screen.rows(headings, [chatbot_usage_row(names.get(one.chatbot_id), one) for one in figures.by_chatbot])

    run(with_client(show))
