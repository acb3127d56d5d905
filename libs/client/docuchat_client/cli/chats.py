"""Commands: chats."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.chat_models import Audience, ExportFormat, IssuedShare
from docuchat_client.cli import times
from docuchat_client.cli.session import (
    AsJson,
    Limit,
    Yes,
    confirm,
    print_json,
    run,
    screen,
    show_list,
    with_client,
)
from docuchat_client.models import Chat, Message
from docuchat_client.rendering import moment, one_line, size

chats_app = typer.Typer(help="List, search, show, share, export and delete chats.", no_args_is_help=True)

_SUFFIXES = {"markdown": "md", "json": "json"}
_SHARES = ("id", "audience", "created_at", "expires_at")


@chats_app.command("list")
def list_chats(
    limit: Limit = 20,
    q: Annotated[str | None, typer.Option("--search", help="Words to look for.")] = None,
    archived: Annotated[bool, typer.Option("--archived", help="Those that were archived.")] = False,
    pinned: Annotated[bool, typer.Option("--pinned", help="Only those that are pinned.")] = False,
    chatbot: Annotated[str | None, typer.Option(metavar="NAME|ID", help="Only those with a chatbot.")] = None,
    as_json: AsJson = False,
) -> None:
    """List chats, pinned ones first, then the newest."""

    async def show(client: AsyncDocuChat) -> None:
        bot = None if chatbot is None else (await client.find_chatbot(chatbot)).id
        page = await client.chats(limit=limit, q=q, archived=archived, pinned=pinned or None, chatbot_id=bot)
        if as_json:
            print_json(page)
            return
        rows = [
            (c.id, c.title, c.message_count, moment(c.updated_at or c.created_at), "pinned" if c.pinned else "")
            for c in page.items
        ]
        screen.rows(("id", "title", "messages", "last change", "state"), rows)
        if page.next_cursor:
            screen.note("There are more; raise --limit or narrow with --search.")

    run(with_client(show))


@chats_app.command("search")
def search_chats(
    words: Annotated[str, typer.Argument(help="Looked for in titles and messages.")],
    limit: Limit = 20,
    archived: Annotated[bool, typer.Option("--archived", help="Among those that were archived.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find chats, and show where the words stand in them."""

    async def show(client: AsyncDocuChat) -> None:
        page = await client.chats(limit=limit, q=words, archived=archived)
        if as_json:
            print_json(page)
            return
        for chat in page.items:
            screen.line(f"{one_line(chat.title) or 'without a title'} [{chat.id}]", style="bold")
            if chat.match is not None:
                screen.line(f"   {one_line(chat.match.snippet)}")
        if not page.items:
            screen.note("Nothing was found.")
        if page.next_cursor:
            screen.note("There are more; raise --limit or say more words.")

    run(with_client(show))


@chats_app.command("show")
def show_chat(
    chat_id: str,
    limit: Limit = 50,
    branches: Annotated[bool, typer.Option("--branches", help="Also what stands beside what is shown.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a chat's messages."""

    async def show(client: AsyncDocuChat) -> None:
        chat = await client.chat(chat_id, limit=limit, branches=branches)
        if as_json:
            print_json(chat)
            return
        screen.line(chat.title or str(chat.id), style="bold")
        show_messages(chat.messages)

    run(with_client(show))


def show_messages(messages: Sequence[Message]) -> None:
    """Show what was said, with the ids by which it is rated and answered again."""
    for message in messages:
        screen.line()
        screen.line(f"{message.role}, {moment(message.created_at)} [{message.id}]", style="bold")
        screen.line(message.content)
        for file in message.attachments:
            screen.line(f"attached: {one_line(file.filename)}", style="dim")
        screen.citations(message.citations)
        if message.feedback is not None:
            why = filter(None, (message.feedback.reason, one_line(message.feedback.text)))
            screen.line(f"rated {': '.join([message.feedback.rating, *why])}", style="dim")


@chats_app.command("rename")
def rename_chat(chat_id: str, title: str) -> None:
    """Give a chat another title."""
    chat = run(with_client(lambda client: client.rename_chat(chat_id, title)))
    screen.line(f"{chat.id}: {chat.title}")


@chats_app.command("pin")
def pin_chat(chat_id: str) -> None:
    """Keep a chat at the top of the list."""
    _tell(run(with_client(lambda client: client.pin_chat(chat_id))), "is pinned")


@chats_app.command("unpin")
def unpin_chat(chat_id: str) -> None:
    """Let a chat stand in the list as any."""
    _tell(run(with_client(lambda client: client.pin_chat(chat_id, pinned=False))), "is pinned no more")


@chats_app.command("archive")
def archive_chat(chat_id: str) -> None:
    """Take a chat out of the list; `chats list --archived` has it."""
    _tell(run(with_client(lambda client: client.archive_chat(chat_id))), "is archived")


@chats_app.command("unarchive")
def unarchive_chat(chat_id: str) -> None:
    """Put a chat back into the list."""
    _tell(run(with_client(lambda client: client.archive_chat(chat_id, archived=False))), "is in the list again")


@chats_app.command("branch")
def show_branch(chat_id: str, message_id: str) -> None:
    """Show the branch of a chat that a message is in, and go on there."""
    _tell(run(with_client(lambda client: client.show_branch(chat_id, message_id))), "shows that branch")


@chats_app.command("export")
def export_chat(
    chat_id: str,
    export_format: Annotated[ExportFormat, typer.Option("--format", help="Of the file.")] = "markdown",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; - is standard output.")
    ] = None,
) -> None:
    """Write a chat to a file: Markdown with citations as footnotes, or JSON."""
    target = output or Path(f"chat-{chat_id}.{_SUFFIXES[export_format]}")
    if output is None and target.exists():
        raise typer.BadParameter(f"{target} exists; name another file with --output", param_hint="--output")

    async def fetch(client: AsyncDocuChat) -> None:
        if target == Path("-"):
            await client.export_chat(chat_id, sys.stdout.buffer, export_format)
        else:
            screen.line(f"{target}: {size(await client.export_chat(chat_id, target, export_format))}")

    run(with_client(fetch))


@chats_app.command("share")
def share_chat(
    chat_id: str,
    audience: Annotated[
        Audience, typer.Option("--with", help="People of the tenant, or whoever has the link.")
    ] = "tenant",
    expires: Annotated[
        datetime | None,
        typer.Option(metavar="2026-12-31|30d", help="When it ends; in a week without.", parser=times.coming),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a link to a chat as it is now, and print it: this once."""
    seconds = None if expires is None else round((expires.astimezone(UTC) - datetime.now(UTC)).total_seconds())

    async def share(client: AsyncDocuChat) -> IssuedShare:
        return await client.share_chat(chat_id, audience, expires_in_seconds=seconds)

    made = run(with_client(share))
    if as_json:
        print_json(made)
        return
    whom = "people of your tenant" if made.audience == "tenant" else "whoever has it"
    screen.note(
        f"For {whom}, until {moment(made.expires_at)}; it is shown once, and ends with: chats unshare {made.id}"
    )
    screen.line(made.url)


@chats_app.command("shares")
def list_shares(chat_id: str, as_json: AsJson = False) -> None:
    """List the links to a chat that work."""
    show_list(lambda client: client.shares(chat_id), as_json, _SHARES)


@chats_app.command("unshare")
def revoke_shares(
    chat_id: str,
    share_id: Annotated[str | None, typer.Argument(metavar="[SHARE]", help="One link; all without.")] = None,
) -> None:
    """End a link to a chat, or all of them."""

    async def revoke(client: AsyncDocuChat) -> None:
        wanted = [UUID(share_id)] if share_id else [share.id async for share in client.shares(chat_id)]
        for one in wanted:
            await client.revoke_share(chat_id, one)
            screen.line(f"{one} leads nowhere.")
        if not wanted:
            screen.note("There are none.")

    run(with_client(revoke))


@chats_app.command("delete")
def delete_chat(chat_id: str, yes: Yes = False) -> None:
    """Delete a chat and its messages."""
    if not yes:
        confirm(f"Delete chat {chat_id}?")
    run(with_client(lambda client: client.delete_chat(chat_id)))
    screen.line(f"Deleted {chat_id}.")


def _tell(chat: Chat, what: str) -> None:
    screen.line(f"{one_line(chat.title) or chat.id} {what}.")
