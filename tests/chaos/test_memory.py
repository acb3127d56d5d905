"""A15: questions and uploads go on steadily, and no process grows with them."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from websockets.exceptions import ConnectionClosed

from docuchat_testkit.faults import resident_megabytes
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle
from docuchat_testkit.provider_rules import Rule

_MINUTES = float(os.environ.get("SOAK_MINUTES", "15"))
_WARM_UP_SECONDS = min(180.0, 20 * _MINUTES)
_SAMPLE_SECONDS = 10.0
_MOST_MEGABYTES_AN_HOUR = 15.0
"""What the line through the samples may rise; 5 were measured at 1.1 questions a second, of 100 to 200 MB."""

Sample = tuple[float, dict[str, float]]


def slope(points: list[tuple[float, float]]) -> float:
    """Of the straight line nearest to the points (least squares)."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)


async def use_steadily(product: Product, user: User, until: float) -> tuple[Counter[str], list[Sample]]:
    """Ask twice a second, upload and delete every six seconds, and look at the processes meanwhile."""
    done: Counter[str] = Counter()
    samples: list[Sample] = []

    async def every(seconds: float, name: str, act: Callable[[int], Awaitable[None]]) -> None:
        number = 0
        while (began := time.monotonic()) < until:
            try:
                await act(number)
                done[name] += 1
            except (httpx2.HTTPError, AssertionError, TimeoutError, ConnectionClosed):
                done[f"{name} refused"] += 1  # a busy machine looks like a frozen service now and then
            number += 1
            await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))

    async def ask(_: int) -> None:
        frames = await user.ask("How long does the warranty of the kettle last?")
        assert frames[-1]["type"] == "end", frames[-1]

    async def ask_plainly(_: int) -> None:
        answer = await user.http.post("/v1/chat", json={"message": "How long is it?"})
        assert answer.status_code == 200, answer.text

    async def upload(number: int) -> None:
        document = await user.ready(small_pdf((f"Lamp {number} of {time.time()} shines for 12 months.",)))
        deleted = await user.http.delete(f"/v1/files/{document['id']}")
        assert deleted.status_code < 300, deleted.text

    async def look(_: int) -> None:
        samples.append((time.monotonic(), await asyncio.to_thread(resident_megabytes, product)))

    await asyncio.gather(
        every(1.0, "questions over a socket", ask),
        every(1.0, "questions over HTTP", ask_plainly),
        every(6.0, "uploads", upload),
        every(_SAMPLE_SECONDS, "looks", look),
    )
    return done, samples


@pytest.mark.soak
@pytest.mark.timeout(int(60 * _MINUTES + _WARM_UP_SECONDS + 300))
async def test_memory_is_flat_under_steady_use(product: Product, stub_provider: StubProviderHandle) -> None:
    stub_provider.control(Rule(endpoint="chat", exact_tokens=60, rate=200))
    async with product.user(await product.new_tenant()) as user:
        await user.ready(small_pdf(("The warranty of the kettle lasts 36 months.",)))
        warm = time.monotonic() + _WARM_UP_SECONDS
        done, samples = await use_steadily(product, user, warm + 60 * _MINUTES)
    samples = [sample for sample in samples if sample[0] >= warm]
    slopes = {}
    print(f"\nA15: {dict(done)} in {_MINUTES:g} min after {_WARM_UP_SECONDS:.0f} s of warming up")
    for name in samples[0][1]:
        points = [((at - warm) / 3600, sizes[name]) for at, sizes in samples]
        slopes[name] = slope(points)
        later = slope(points[len(points) // 2 :])
        print(
            f"A15: {name}: {points[0][1]:.1f} MB at first, {points[-1][1]:.1f} at the end, most "
            f"{max(size for _, size in points):.1f}; {slopes[name]:+.1f} MB/h, in the second half {later:+.1f}"
        )
    refused = sum(count for name, count in done.items() if name.endswith("refused"))
    assert refused < done.total() / 10
    assert max(slopes.values()) <= _MOST_MEGABYTES_AN_HOUR, slopes
