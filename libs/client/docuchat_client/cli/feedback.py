"""Commands: say what you think of an answer, or have another one."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from docuchat_client.aio import AsyncDocuChat
from docuchat_client.chat_models import FeedbackReason
from docuchat_client.cli.asking import show_answer
from docuchat_client.cli.session import AsJson, print_json, run, screen, with_client
from docuchat_client.models import Feedback

Answer = Annotated[str, typer.Argument(metavar="MESSAGE", help="The id of an answer; `docuchat chats show` has it.")]


def feedback(
    message_id: Answer,
    rating: Annotated[Literal["up", "down", "none"], typer.Argument(help="none takes back what you said.")],
    reason: Annotated[FeedbackReason | None, typer.Option(help="Why.")] = None,
    text: Annotated[str | None, typer.Option(help="In your own words.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what you think of an answer, in place of what you said before."""

    async def rate(client: AsyncDocuChat) -> Feedback | None:
        if rating == "none":
            await client.withdraw_rating(message_id)
            return None
        return await client.rate(message_id, rating, reason=reason, text=text)

    if rating == "none" and (reason or text):
        raise typer.BadParameter("none takes back what you said; there is nothing to say beside it")
    given = run(with_client(rate))
    if given is None:
        screen.line("Taken back.")
    elif as_json:
        print_json(given)
    else:
        screen.line(f"Rated {given.rating}{f', {given.reason}' if given.reason else ''}.")


def regenerate(
    message_id: Answer,
    model: Annotated[str | None, typer.Option(help="The model, when the service allows another.")] = None,
    as_json: AsJson = False,
) -> None:
    """Have the question of an answer answered once more; both answers stay, beside each other."""

    async def again(client: AsyncDocuChat) -> None:
        if as_json:
            print_json(await client.regenerate(message_id, model=model))
        else:
            await show_answer(client.stream_regenerated(message_id, model=model))

    run(with_client(again))
