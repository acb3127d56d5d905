"""R5: a document that takes its worker down each time ends among the dead letters, disturbs no other, and one command
brings it back.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from docuchat_testkit.eventually import eventually
from docuchat_testkit.faults import parts_of
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

_ATTEMPTS = 5


def replays(product: Product) -> bool:
    """Run `docuchat admin dead-letters replay`; whether it found the one."""
    key = json.loads((product.running.folder / "operator.json").read_text())["key"]
    done = subprocess.run(
        [Path(sys.executable).with_name("docuchat"), "admin", "dead-letters", "replay", "--service", "ingest"],
        env=os.environ | {"DOCUCHAT_SERVER": product.url, "DOCUCHAT_OPERATOR_KEY": key},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return "1" in done.stdout


async def upload_another(user: User, number: int) -> float:
    """Seconds from the answer to a small document until it is ready."""
    document = await user.upload(small_pdf((f"The warranty of lamp {number} lasts 12 months.",)))
    began = time.monotonic()
    assert (await user.settled(document["id"]))["status"] == "ready"
    return time.monotonic() - began


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_a_document_that_takes_its_worker_down_is_given_up_and_brought_back_by_one_command(
    product: Product, stub_provider: StubProviderHandle
) -> None:
    worker = parts_of(product)["ingest-worker"]
    stub_provider.control(Rule(endpoint="embeddings", contains="deadly", header_delay=60))
    async with product.user(await product.new_tenant()) as user:
        deadly = await user.upload(small_pdf(("This one is deadly.",)))
        beside = []
        for attempt in range(1, _ATTEMPTS + 1):

            async def is_read(attempt: int = attempt) -> None:
                assert sum("deadly" in call.last_message for call in stub_provider.calls()) == attempt

            await eventually(is_read, 60)
            beside.append(await upload_another(user, attempt))
            await asyncio.to_thread(worker.kill)
            await asyncio.to_thread(worker.start)
        ended = await user.settled(deadly["id"])
        assert (ended["status"], ended["error"]["code"]) == ("failed", "worker_crashed")
        stub_provider.control()
        await eventually(lambda: asyncio.to_thread(replays, product))

        async def is_ready() -> None:
            assert (await user.document(deadly["id"]))["status"] == "ready"

        await eventually(is_ready, 60)
    print(
        f"\nR5: failed after {_ATTEMPTS} deliveries, dead-lettered, brought back by one command; documents beside it "
        f"ready after {max(beside):.2f} s at most"
    )
