"""Commands: chatbots, what they say, and which version answers."""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.bodies import given
from docuchat_client.chatbot_models import AnswerPolicy, Chatbot, Colours
from docuchat_client.cli.chatbot_shown import Named, called, show_secret, state, tell, tell_config, which
from docuchat_client.cli.chatbot_use import (
    ask_chatbot,
    list_conversations,
    list_documents,
    show_insights,
    show_snippet,
    upload_documents,
)
from docuchat_client.cli.chatbot_versions import (
    compare_versions,
    list_versions,
    publish_chatbot,
    restore_version,
    rotate_key,
    unpublish_chatbot,
)
from docuchat_client.cli.collections import collection_id
from docuchat_client.cli.session import AsJson, Yes, confirm, print_json, run, screen, with_client
from docuchat_client.rendering import moment

chatbots_app = typer.Typer(help="Chatbots: made, filled, published, asked.", no_args_is_help=True)

Language = Literal["en", "fa", "de", "ar"]
_LISTS = ("collections", "origins", "suggested_questions")
_TEXTS = ("description", "system_prompt")
_SIDES = ("accent", "background", "text")


class Clearable(StrEnum):
    """What need not be said of a chatbot."""

    COLLECTIONS = "collections"
    DEMO_MESSAGES = "demo_messages"
    DESCRIPTION = "description"
    GREETING = "greeting"
    LANGUAGE = "language"
    MODEL = "model"
    NOTHING_FOUND = "nothing_found"
    ORIGINS = "origins"
    SUGGESTED_QUESTIONS = "suggested_questions"
    SYSTEM_PROMPT = "system_prompt"
    FALLBACK_MODEL = "fallback_model"
    TEMPERATURE = "temperature"
    TOKENS_PER_MONTH = "tokens_per_month"
    TOKENS_PER_VISITOR = "tokens_per_visitor"
    TOP_K = "top_k"


Description = Annotated[str | None, typer.Option(help="For those who manage it.")]
Prompt = Annotated[str | None, typer.Option(help="What the model is told to be.")]
PromptFile = Annotated[Path | None, typer.Option(help="The same from a file; - is standard input.")]
Collections = Annotated[
    list[str] | None,
    typer.Option("--collection", metavar="NAME|ID", help="Answers from it besides its own documents; repeatable."),
]
Model = Annotated[str | None, typer.Option(help="One that the service allows.")]
Fallback = Annotated[str | None, typer.Option(help="Answers when the provider of the first does not.")]
Temperature = Annotated[float | None, typer.Option(min=0, max=2)]
TopK = Annotated[int | None, typer.Option(min=1, max=50, help="How many passages an answer may rest on.")]
Greeting = Annotated[str | None, typer.Option(help="What a page shows first.")]
Suggested = Annotated[list[str] | None, typer.Option("--suggest", help="A question that a page offers; repeatable.")]
Answers = Annotated[Language | None, typer.Option(help="Always answers in it; else in the question's.")]
NothingFound = Annotated[str | None, typer.Option(help="What it says when no document answers.")]
OwnKnowledge = Annotated[
    bool | None, typer.Option("--own-knowledge/--documents-only", help="Whether it may say what is in no document.")
]
MustCite = Annotated[
    bool | None,
    typer.Option("--citations-required/--no-citations-required", help="Whether an answer must cite something."),
]
Refused = Annotated[list[str] | None, typer.Option("--refuse", help="A subject that it does not speak of; repeatable.")]
Paint = Annotated[
    list[str] | None,
    typer.Option("--colour", metavar="SIDE=#RRGGBB", help=f"Of a page's widget: {', '.join(_SIDES)}; repeatable."),
]
Origins = Annotated[
    list[str] | None,
    typer.Option("--origin", metavar="https://SITE", help="Pages of it may show the chatbot; repeatable."),
]
DemoMessages = Annotated[int | None, typer.Option(min=0, help="A visitor's a month; 0 is no limit.")]
Tokens = Annotated[int | None, typer.Option(min=1, help="Of all who ask it, a month.")]
VisitorTokens = Annotated[int | None, typer.Option(min=1, help="Of one visitor, a month.")]


@chatbots_app.command("list")
def list_chatbots(
    q: Annotated[str | None, typer.Option("--search", help="Words of the name.")] = None, as_json: AsJson = False
) -> None:
    """List chatbots, newest first; only published ones unless you manage them."""

    async def show(client: AsyncDocuChat) -> None:
        found = [chatbot async for chatbot in client.chatbots(q=q)]
        if as_json:
            screen.json(json.dumps([chatbot.model_dump(mode="json") for chatbot in found], indent=2))
            return
        rows = [(one.name, state(one), moment(one.updated_at), one.id) for one in found]
        screen.rows(("name", "state", "last change", "id"), rows)
        if not found:
            screen.note("There are none.")

    run(with_client(show))


@chatbots_app.command("show")
def show_chatbot(
    chatbot: Named,
    version: Annotated[str | None, typer.Option(metavar="N|draft", help="What this version says.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show a chatbot and its draft, or what a version says."""

    async def show(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        if version is None:
            tell(await client.chatbot(found.id), as_json)
            return
        said = await client.chatbot_version(found.id, which(version))
        if as_json:
            print_json(said)
        else:
            screen.line(f"{found.name}, {called(said.version)} of {moment(said.created_at)}", style="bold")
            tell_config(said.config)

    run(with_client(show))


@chatbots_app.command("create")
def create_chatbot(
    name: str,
    description: Description = None,
    system_prompt: Prompt = None,
    prompt_file: PromptFile = None,
    collection: Collections = None,
    model: Model = None,
    fallback_model: Fallback = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    greeting: Greeting = None,
    suggest: Suggested = None,
    language: Answers = None,
    nothing_found: NothingFound = None,
    own_knowledge: OwnKnowledge = None,
    citations_required: MustCite = None,
    refuse: Refused = None,
    colour: Paint = None,
    origin: Origins = None,
    demo_messages: DemoMessages = None,
    tokens_per_month: Tokens = None,
    tokens_per_visitor: VisitorTokens = None,
    publish: Annotated[bool, typer.Option("--publish", help="It answers at once.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a chatbot, and print its secret key: this once."""
    fields = {
        "description": description, "system_prompt": _prompt(system_prompt, prompt_file), "model": model,
        "fallback_model": fallback_model, "temperature": temperature, "top_k": top_k,
        "greeting": greeting, "suggested_questions": suggest or None,
        "language": language, "nothing_found": nothing_found, "origins": origin or None,
        "demo_messages": demo_messages, "tokens_per_month": tokens_per_month, "tokens_per_visitor": tokens_per_visitor,
        "answer_policy": _policy(AnswerPolicy(), own_knowledge, citations_required, refuse),
        "colours": _colours(Colours(), colour),
    }  # fmt: skip

    async def create(client: AsyncDocuChat) -> None:
        said = given(**fields) | await _collections(client, collection)
        made = await client.create_chatbot(name, said, publish=publish)
        if as_json:
            print_json(made)
            return
        screen.note(f"{made.name} is made [{made.id}], {state(made)}. Pages name it {made.publishable_id}.")
        if made.secret_key is None and made.secret_key_withheld is not None:
            screen.note(
                "Its secret key is shown to who signed in within the last 15 minutes: `docuchat login`, then "
                f"`docuchat chatbots rotate-key {made.id}`. Pages need none."
            )
            return
        show_secret(made.secret_key)

    run(with_client(create))


@chatbots_app.command("edit")
def edit_chatbot(
    chatbot: Named,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    description: Description = None,
    system_prompt: Prompt = None,
    prompt_file: PromptFile = None,
    collection: Collections = None,
    model: Model = None,
    fallback_model: Fallback = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    greeting: Greeting = None,
    suggest: Suggested = None,
    language: Answers = None,
    nothing_found: NothingFound = None,
    own_knowledge: OwnKnowledge = None,
    citations_required: MustCite = None,
    refuse: Refused = None,
    colour: Paint = None,
    origin: Origins = None,
    demo_messages: DemoMessages = None,
    tokens_per_month: Tokens = None,
    tokens_per_visitor: VisitorTokens = None,
    clear: Annotated[list[Clearable] | None, typer.Option(help="Takes away what was said; repeatable.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change the draft, which answers nobody before it is published; name, origins and limits hold at once.

    What can be repeated replaces all that was there.
    """
    fields = {
        "name": name, "description": description, "system_prompt": _prompt(system_prompt, prompt_file), "model": model,
        "fallback_model": fallback_model, "temperature": temperature, "top_k": top_k,
        "greeting": greeting, "suggested_questions": suggest or None,
        "language": language, "nothing_found": nothing_found, "origins": origin or None,
        "demo_messages": demo_messages, "tokens_per_month": tokens_per_month, "tokens_per_visitor": tokens_per_visitor,
    }  # fmt: skip

    async def edit(client: AsyncDocuChat) -> None:
        found = await client.find_chatbot(chatbot)
        draft = found.draft
        policy = _policy(draft.answer_policy if draft else AnswerPolicy(), own_knowledge, citations_required, refuse)
        colours = _colours(draft.colours if draft else Colours(), colour)
        changes: dict[str, Any] = {field.value: _nothing(field) for field in clear or ()}
        changes |= given(**fields, answer_policy=policy, colours=colours) | await _collections(client, collection)
        if not changes:
            raise typer.BadParameter("say what is to change, such as --greeting or --clear model; --help names all")
        tell(await client.change_chatbot(found.id, changes, revision=found.revision), as_json)

    run(with_client(edit))


@chatbots_app.command("delete")
def delete_chatbot(chatbot: Named, yes: Yes = False) -> None:
    """Delete a chatbot, its versions, key, visitors, documents and all chats with it."""
    if not yes:
        confirm(f"Delete chatbot {chatbot} WITH its documents and all chats with it?")

    async def delete(client: AsyncDocuChat) -> Chatbot:
        found = await client.find_chatbot(chatbot)
        await client.delete_chatbot(found.id)
        return found

    screen.line(f"Deleted {run(with_client(delete)).name}.")


for command, name in (
    (publish_chatbot, "publish"),
    (unpublish_chatbot, "unpublish"),
    (list_versions, "versions"),
    (compare_versions, "diff"),
    (restore_version, "restore"),
    (rotate_key, "rotate-key"),
    (upload_documents, "upload"),
    (list_documents, "documents"),
    (ask_chatbot, "ask"),
    (list_conversations, "conversations"),
    (show_insights, "insights"),
    (show_snippet, "snippet"),
):
    chatbots_app.command(name)(command)


def _nothing(field: str) -> Any:
    """What stands where nothing is said."""
    if field in _LISTS:
        return []
    return "" if field in _TEXTS else None


def _prompt(text: str | None, file: Path | None) -> str | None:
    if file is None:
        return text
    if text is not None:
        raise typer.BadParameter("say --system-prompt or --prompt-file, not both")
    return sys.stdin.read() if file == Path("-") else file.read_text(encoding="utf-8")


def _policy(
    present: AnswerPolicy, own_knowledge: bool | None, citations: bool | None, refused: list[str] | None
) -> dict[str, Any] | None:
    """The policy with what is given; None when that is nothing."""
    changed = given(own_knowledge=own_knowledge, citations_required=citations, refused_subjects=refused or None)
    return present.model_dump() | changed if changed else None


def _colours(present: Colours, said: list[str] | None) -> dict[str, Any] | None:
    """The colours with those that are given; None when none is."""
    sides = [side.partition("=") for side in said or ()]
    for side, _, colour in sides:
        if side not in _SIDES or not colour:
            raise typer.BadParameter(f"{side}={colour} is no colour; say for example {_SIDES[0]}=#1a73e8")
    return present.model_dump() | {side: colour for side, _, colour in sides} if sides else None


async def _collections(client: AsyncDocuChat, references: list[str] | None) -> dict[str, Any]:
    return {"collections": [str(await collection_id(client, one)) for one in references]} if references else {}
