"""Commands: what a chatbot answers from, what is asked of it, and what became of that."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.chatbot_models import Insights
from docuchat_client.cli.asking import show_answer
from docuchat_client.cli.chatbot_shown import Named, called, which
from docuchat_client.cli.chats import show_messages
from docuchat_client.cli.files import show_documents
from docuchat_client.cli.session import AsJson, Limit, print_json, run, screen, table, with_client
from docuchat_client.cli.uploads import Send, upload_all
from docuchat_client.rendering import counted, moment, one_line

_CONVERSATIONS = ("id", "title", "subject_type", "message_count", "updated_at")


def upload_documents(
    chatbot: Named,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, readable=True)],
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the chatbot knows them.")] = True,
    title: Annotated[str | None, typer.Option(help="The title, for a single file.")] = None,
) -> None:
    """Upload documents that only this chatbot answers from; each of its versions does."""

    async def begin(client: AsyncDocuChat) -> Send:
        found = await client.find_chatbot(chatbot)
        return partial(client.upload_to_chatbot, found.id, title=title)

    upload_all(files, begin, wait=wait, title=title)


def list_documents(
    chatbot: Named,
    limit: Limit = 20,
    q: Annotated[str | None, typer.Option("--search", help="Words of the title.")] = None,
    as_json: AsJson = False,
) -> None:
    """List a chatbot's own documents, newest first."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        show_documents(await client.documents(limit=limit, q=q, collection_id=found.id), as_json)

    run(with_client(show))


def ask_chatbot(
    chatbot: Named,
    question: Annotated[str, typer.Argument(help="What you want to know; - reads it from standard input.")],
    version: Annotated[
        str | None, typer.Option(metavar="N|draft", help="Try out another than the live one, as its manager.")
    ] = None,
    session: Annotated[str | None, typer.Option(help="A name of your choice: its questions share one chat.")] = None,
    as_json: AsJson = False,
) -> None:
    """Ask a chatbot; the answer streams, its citations follow."""
    text = sys.stdin.read() if question == "-" else question
    wanted = None if version is None else which(version)

    async def ask(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        if as_json:
            print_json(await client.query_chatbot(found.id, text, session_id=session, version=wanted))
        else:
            await show_answer(client.stream_chatbot(found.id, text, session_id=session, version=wanted))

    run(with_client(ask))


def list_conversations(
    chatbot: Named,
    chat: Annotated[str | None, typer.Argument(metavar="[CHAT]", help="Show what was said in this one.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many messages of the chat at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on behind the last page of the chat.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the chats with a chatbot, the last first, or show one."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        if chat is None:
            chats = [one.model_dump(mode="json") async for one in client.chatbot_conversations(found.id)]
            table(chats, as_json, _CONVERSATIONS)
            return
        said = await client.chatbot_conversation(found.id, chat, limit=limit, cursor=cursor)
        if as_json:
            print_json(said)
            return
        screen.line(said.title or str(said.id), style="bold")
        show_messages(said.messages)
        if said.next_cursor:
            screen.note(f"There are more: --cursor {said.next_cursor}")

    run(with_client(show))


def show_insights(
    chatbot: Named,
    days: Annotated[int, typer.Option(min=1, max=90, help="Of so many days.")] = 30,
    as_json: AsJson = False,
) -> None:
    """Show what a chatbot is used for: by day, what found nothing, and what readers thought."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        insights = await client.chatbot_insights(found.id, days=days)
        if as_json:
            print_json(insights)
        else:
            _tell(insights)

    run(with_client(show))


def _tell(insights: Insights) -> None:
    asked = f"{counted(insights.chats, 'chat')} of {counted(insights.askers, 'asker')}"
    screen.line(f"{asked} since {moment(insights.since)}", style="bold")
    screen.rows(
        ("day", "by", "answers", "unanswered", "input", "output"),
        [
            (
                use.day,
                called(use.version),
                use.answers,
                use.unanswered,
                f"{use.input_tokens:,}",
                f"{use.output_tokens:,}",
            )
            for use in insights.use
        ],
    )
    if insights.unanswered:
        screen.line("\nNothing was found for", style="bold")
        screen.rows(
            ("question", "times", "last asked"),
            [(one.question, one.times, moment(one.last_asked_at)) for one in insights.unanswered],
        )
    if insights.opinions:
        screen.line("\nReaders thought", style="bold")
        screen.rows(("rating", "why", "how often"), [(one.rating, one.reason, one.count) for one in insights.opinions])
    for comment in insights.comments:
        screen.line(f"{comment.rating}, {moment(comment.created_at)}: {one_line(comment.text)}")


def show_snippet(chatbot: Named, as_json: AsJson = False) -> None:
    """Print the script tag that shows a chatbot on a page, and say what is missing before it does."""

    async def show(client: AsyncDocuChat) -> None:
        snippet = await client.chatbot_snippet((await client.find_chatbot(chatbot)).id)
        if as_json:
            print_json(snippet)
            return
        screen.line(snippet.html)
        screen.note(f"A page with a Content-Security-Policy must allow: {snippet.content_security_policy}")
        for note in snippet.notes:
            screen.note(note)

    run(with_client(show))
