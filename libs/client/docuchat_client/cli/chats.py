"""Commands: chats."""

from __future__ import annotations

from typing import Annotated

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.cli.session import (
    AsJson,
    Limit,
    Yes,
    confirm,
    print_json,
    run,
    screen,
    with_client,
)
from docuchat_client.rendering import moment

chats_app = typer.Typer(help="List, show, rename and delete chats.", no_args_is_help=True)


@chats_app.command("list")
def list_chats(
    limit: Limit = 20,
    q: Annotated[str | None, typer.Option("--search", help="Words to look for.")] = None,
    as_json: AsJson = False,
) -> None:
    """List chats, newest first."""

    async def show(client: AsyncDocuChat) -> None:
        page = await client.chats(limit=limit, q=q)
        if as_json:
            print_json(page)
            return
        rows = [(c.id, c.title, c.message_count, moment(c.updated_at or c.created_at)) for c in page.items]
        screen.rows(("id", "title", "messages", "last change"), rows)
        if page.next_cursor:
            screen.note("There are more; raise --limit or narrow with --search.")

    run(with_client(show))


@chats_app.command("show")
def show_chat(chat_id: str, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Show a chat's messages."""

    async def show(client: AsyncDocuChat) -> None:
        chat = await client.chat(chat_id, limit=limit)
        if as_json:
            print_json(chat)
            return
        screen.line(chat.title or str(chat.id), style="bold")
        for message in chat.messages:
            screen.line()
            screen.line(f"{message.role}, {moment(message.created_at)}", style="bold")
            screen.line(message.content)
            screen.citations(message.citations)

    run(with_client(show))


@chats_app.command("rename")
def rename_chat(chat_id: str, title: str) -> None:
    """Give a chat another title."""
    chat = run(with_client(lambda client: client.rename_chat(chat_id, title)))
    screen.line(f"{chat.id}: {chat.title}")


@chats_app.command("delete")
def delete_chat(chat_id: str, yes: Yes = False) -> None:
    """Delete a chat and its messages."""
    if not yes:
        confirm(f"Delete chat {chat_id}?")
    run(with_client(lambda client: client.delete_chat(chat_id)))
    screen.line(f"Deleted {chat_id}.")
