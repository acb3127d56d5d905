"""Commands: which version of a chatbot answers, and the key that asks it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.chatbot_models import Chatbot
from docuchat_client.cli.chatbot_shown import Named, called, show_secret, tell_live, value, which
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, with_client
from docuchat_client.rendering import moment


def publish_chatbot(chatbot: Named, as_json: AsJson = False) -> None:
    """Make the draft the next version, which answers from now on."""

    async def publish(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        tell_live(found, await client.publish_chatbot(found.id, revision=found.revision), as_json)

    run(with_client(publish))


def unpublish_chatbot(chatbot: Named, yes: Yes = False) -> None:
    """Take a chatbot offline: it answers nobody until a version is published or restored."""
    if not yes:
        confirm(f"{chatbot} answers nobody any more?")

    async def unpublish(client: AsyncDocuChat) -> Chatbot:
        return await client.unpublish_chatbot((await client.find_chatbot(chatbot)).id)

    screen.line(f"{run(with_client(unpublish)).name} is offline.")


def list_versions(chatbot: Named, as_json: AsJson = False) -> None:
    """List the versions of a chatbot, newest first."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        versions = [version async for version in client.chatbot_versions(found.id)]
        if as_json:
            screen.json(json.dumps([version.model_dump(mode="json") for version in versions], indent=2))
            return
        live = found.published.version if found.published else None
        rows = [
            (
                one.version,
                "live" if one.version == live else "",
                moment(one.created_at),
                f"version {one.restored_from}" if one.restored_from else "",
            )
            for one in versions
        ]
        screen.rows(("version", "state", "published", "restored from"), rows)
        if not versions:
            screen.note(f"None is published; `docuchat chatbots publish {found.name!r}` makes the first.")

    run(with_client(show))


def compare_versions(
    chatbot: Named,
    version: Annotated[str, typer.Argument(metavar="[N|draft]", help="What is compared.")] = "draft",
    other: Annotated[
        str | None, typer.Option("--from", metavar="N|draft", help="What it is compared with; else the one before.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what is different in the draft, or in a version, from an earlier one."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        since = None if other is None else which(other)
        changes = await client.chatbot_changes(found.id, which(version), since=since)
        if as_json:
            print_json(changes)
            return
        screen.line(f"{found.name}, from {called(changes.from_version)} to {called(changes.to_version)}", style="bold")
        for change in changes.changes:
            screen.line(change.field)
            screen.line(f"  - {value(change.before)}", style="red")
            screen.line(f"  + {value(change.after)}", style="green")
        if not changes.changes:
            screen.note("They say the same.")

    run(with_client(show))


def restore_version(chatbot: Named, version: Annotated[int, typer.Argument(min=1)], as_json: AsJson = False) -> None:
    """Roll back: publish what an older version says, as the next one, and set the draft to it."""

    async def restore(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        tell_live(found, await client.restore_chatbot(found.id, version), as_json)

    run(with_client(restore))


def rotate_key(
    chatbot: Named,
    overlap: Annotated[
        int | None, typer.Option(min=0, metavar="SECONDS", help="So long the older secret works on; an hour without.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a chatbot's key another secret, and print it: this once."""

    async def rotate(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        rotated = await client.rotate_chatbot_key(found.id, overlap_seconds=overlap)
        if as_json:
            print_json(rotated)
            return
        show_secret(rotated.secret_key)
        older = [secret.ends_at for secret in (rotated.key.secrets if rotated.key else ()) if secret.ends_at]
        if older:
            screen.note(f"The older secret works until {moment(max(older))}.")

    run(with_client(rotate))
