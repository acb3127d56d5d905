"""Commands of operators: messages that no service could take."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from docuchat_client.cli.operating import operate
from docuchat_client.cli.session import NO_ANSWER, AsJson, Yes, confirm, screen

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))

dead_letters_app = typer.Typer(help="Messages that no service could take.", no_args_is_help=True)


@dead_letters_app.command("list")
def list_dead_letters(context: typer.Context, as_json: AsJson = False) -> None:
    """List messages that no service could take, and why."""
    answer = operate(context, lambda it: it.dead_letters())
    if as_json:
        screen.json(json.dumps(answer["items"], indent=2))
    elif not answer["items"] and not answer["unanswered"]:
        screen.note("There are none.")
    else:
        for item in answer["items"]:  # lines, not a table: a queue's name must stay whole to be copied
            screen.line(f"{item['queue']}: {item['count']} given up, {item['reason']}, {_age(item['oldest_seconds'])}")
            screen.line("".join(f"    id {one}\n" for one in item.get("ids", [])).rstrip("\n"))
    _unanswered(answer)


@dead_letters_app.command("replay")
def replay_dead_letters(
    context: typer.Context,
    service: Annotated[str | None, typer.Option(help="Those of one service only.")] = None,
    queue: Annotated[str | None, typer.Option(help="Those of one queue only.")] = None,
) -> None:
    """Hand dead letters to their queues again."""
    answer = operate(context, lambda it: it.replay_dead_letters(service=service, queue=queue))
    for name, count in answer["replayed"].items():
        screen.line(f"{name}: {count} handed back")
    _unanswered(answer)


@dead_letters_app.command("discard")
def discard_dead_letters(
    context: typer.Context, queue: Annotated[str, typer.Option(help="The queue, as `list` names it.")], yes: Yes = False
) -> None:
    """Forget the dead letters of a queue for good."""
    if not yes:
        confirm(f"Forget what {queue} gave up, for good?")
    screen.line(f"{operate(context, lambda it: it.discard_dead_letters(queue))['discarded']} forgotten.")


def _age(seconds: float) -> str:
    unit, size = next((one for one in _UNITS if seconds >= one[1]), _UNITS[-1])
    return f"the oldest {seconds / size:.0f} {unit} ago"


def _unanswered(answer: dict[str, Any]) -> None:
    if missing := answer.get("unanswered"):
        screen.fail(f"{', '.join(missing)} did not answer; their dead letters are not among these")
        raise typer.Exit(NO_ANSWER)
