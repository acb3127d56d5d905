"""How commands name chatbots and their versions, and what they show of them."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import typer

from docuchat_client.chatbot_models import Chatbot, ChatbotConfig, ChatbotVersion
from docuchat_client.cli.session import print_json, screen
from docuchat_client.rendering import one_line

Named = Annotated[str, typer.Argument(metavar="NAME|ID", help="The chatbot.")]


def which(text: str) -> int | Literal["draft"]:
    """A version's number, or the draft."""
    if text == "draft":
        return "draft"
    if not text.isdecimal() or int(text) < 1:
        raise typer.BadParameter(f"{text} is no version; say its number, or draft")
    return int(text)


def called(version: int | None) -> str:
    """A version as people call it."""
    return f"version {version}" if version else "draft"


def state(chatbot: Chatbot) -> str:
    """Which version answers, and whether the draft says something else."""
    if chatbot.published is None:
        return "not published"
    return called(chatbot.published.version) + (", draft differs" if chatbot.has_changes else "")


def tell(chatbot: Chatbot, as_json: bool) -> None:
    """Show a chatbot and its draft."""
    if as_json:
        print_json(chatbot)
        return
    screen.line(f"{chatbot.name} ({chatbot.id}), {state(chatbot)}", style="bold")
    screen.line(f"for pages: {chatbot.publishable_id}")
    for name, given in (
        ("description", chatbot.description),
        ("origins", chatbot.origins),
        ("messages of a visitor a month", "no limit" if chatbot.demo_messages == 0 else chatbot.demo_messages),
        ("tokens a month", chatbot.tokens_per_month),
        ("tokens of a visitor a month", chatbot.tokens_per_visitor),
    ):
        _line(name, given)
    if chatbot.draft is not None:
        screen.line("draft", style="bold")
        tell_config(chatbot.draft)


def tell_config(config: ChatbotConfig) -> None:
    """Show what a version says; what it leaves to the service is not shown."""
    said = config.model_dump(mode="json", exclude_none=True)
    for name, given in said.items():
        for part, detail in given.items() if isinstance(given, dict) else ((name, given),):
            _line(part.replace("_", " "), detail)


def tell_live(chatbot: Chatbot, version: ChatbotVersion, as_json: bool) -> None:
    """Show which version answers from now on."""
    if as_json:
        print_json(version)
        return
    what = f", which says what {called(version.restored_from)} says" if version.restored_from else ""
    screen.line(f"{chatbot.name} answers by {called(version.version)} from now on{what}.")


def show_secret(secret: str | None) -> None:
    """The secret alone on standard output, so that a script can take it."""
    if secret is None:
        screen.note("Its secret was told before; `docuchat chatbots rotate-key` makes another.")
        return
    screen.note("Its secret key is shown once; keep it as a password, on a server and in no page:")
    screen.line(secret)


def value(given: Any) -> str:
    """A field on one line."""
    return one_line(given if isinstance(given, str) else json.dumps(given, ensure_ascii=False))


def _line(name: str, given: Any) -> None:
    if isinstance(given, list):
        given = ", ".join(map(str, given))
    if given not in (None, "", False):
        screen.line(f"{name}: {'yes' if given is True else one_line(str(given))}")
