"""The operator's commands, as processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from docuchat_common.ids import uuid7
from docuchat_usage.__main__ import main

if TYPE_CHECKING:
    from docuchat_testkit.databases import ClonedDatabase


@pytest.fixture
def run(service_environment: Callable[[str], dict[str, str]]) -> Callable[..., object]:
    async def command(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "docuchat_usage", *arguments,
            env={**os.environ, **service_environment("usage")},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await asyncio.wait_for(process.communicate(), timeout=30)
        return process.returncode or 0, out.decode(), err.decode()

    return command


async def test_quotas_are_set_for_a_tenant_and_for_a_user(run: Callable, database: ClonedDatabase) -> None:
    user = uuid7()
    status, _, err = await run("set-quota", "--tenant", "1", "--tokens", "5000")
    assert (status, "tenant_unknown" in err) == (1, True)
    async with database.connect() as connection:
        await connection.execute("INSERT INTO usage.subscriptions VALUES (1, 'standard')")
    status, out, err = await run("set-quota", "--tenant", "1", "--tokens", "5000", "--cost", "12.5")
    assert (status, out.splitlines()[-1]) == (0, "tenant 1: 5000 tokens and 12.5 USD a month"), err
    status, _, err = await run("set-quota", "--tenant", "1", "--user", str(user), "--tokens", "100")
    assert status == 0, err
    async with database.connect() as connection:
        rows = await connection.fetch(
            "SELECT subject_id, unit, amount_limit FROM usage.budgets WHERE unit = 'tokens' ORDER BY layer"
        )
    assert [tuple(row) for row in rows] == [("1", "tokens", 5000), (str(user), "tokens", 100)]


async def test_a_price_gets_a_new_version_and_never_another_of_the_same_moment(
    run: Callable, database: ClonedDatabase
) -> None:
    arguments = ("set-price", "--model", "my-model*", "--input", "0.5", "--output", "1.5", "--from", "2026-01-01")
    status, _, err = await run(*arguments)
    assert status == 0, err
    status, _, err = await run(*arguments)
    assert status == 1
    assert "price_exists" in err
    async with database.connect() as connection:
        row = await connection.fetchrow("SELECT input, output, embedding FROM usage.prices WHERE model = 'my-model*'")
    assert row is not None
    assert tuple(row) == (Decimal("0.5"), Decimal("1.5"), Decimal("0.5"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["set-price", "--model", "m", "--input=-1", "--output", "1"],
        ["set-price", "--model", "m", "--input", "0.0000001", "--output", "1"],
        ["set-price", "--model", "m", "--input", "NaN", "--output", "1"],
        ["set-quota", "--tenant", "1"],
        ["set-quota", "--tenant", "0", "--tokens", "1"],
        ["set-quota", "--tenant", "1", "--tokens=-5"],
    ],
)
def test_impossible_arguments_are_refused_before_anything_is_opened(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(arguments)
    assert refused.value.code == 2
    assert "usage:" in capsys.readouterr().err
