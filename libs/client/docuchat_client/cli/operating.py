"""What commands of operators share: how they reach the installation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import typer

from docuchat_client.aio import DEFAULT_SERVER
from docuchat_client.cli.session import PATIENCE, note_wait, run
from docuchat_client.operators import OperatorClient, find_operator_key

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Given:
    server: str | None
    key: str | None


def operate(context: typer.Context, action: Callable[[OperatorClient], Awaitable[T]]) -> T:
    given: Given = context.obj

    async def act() -> T:
        key = find_operator_key(given.server, given.key, default_server=DEFAULT_SERVER, folder=Path.cwd())
        async with OperatorClient(key, longest_wait=PATIENCE, on_wait=note_wait) as operator:
            return await action(operator)

    return run(act())
