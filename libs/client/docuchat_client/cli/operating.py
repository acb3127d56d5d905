"""What commands of operators share: how they reach the installation, and how they show a list."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import typer

from docuchat_client.aio import DEFAULT_SERVER
from docuchat_client.cli.session import run, screen
from docuchat_client.operators import OperatorClient, find_operator_key
from docuchat_client.rendering import moment

T = TypeVar("T")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")


@dataclass(frozen=True, slots=True)
class Given:
    server: str | None
    key: str | None


def operate(context: typer.Context, action: Callable[[OperatorClient], Awaitable[T]]) -> T:
    given: Given = context.obj

    async def act() -> T:
        key = find_operator_key(given.server, given.key, default_server=DEFAULT_SERVER, folder=Path.cwd())
        async with OperatorClient(key) as operator:
            return await action(operator)

    return run(act())


def table(items: list[dict[str, Any]], as_json: bool, columns: tuple[str, ...] | None = None) -> None:
    if as_json:
        screen.json(json.dumps(items, indent=2))
        return
    if not items:
        screen.note("There are none.")
        return
    columns = columns or tuple(dict.fromkeys(name for item in items for name in item))
    screen.rows(columns, [[_cell(item.get(name)) for name in columns] for item in items])


def _cell(value: Any) -> Any:
    """A member as it is shown: whole amounts without decimals, thousands apart; a moment to the minute."""
    if isinstance(value, str) and _MOMENT.match(value):
        return moment(datetime.fromisoformat(value))
    if isinstance(value, float):
        return f"{value:,.6f}".rstrip("0").rstrip(".")
    return value
