"""Generated requests over the whole public surface: whatever is sent, the server answers and does not fail (S10)."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle

_EXAMPLES = 15
_SEED = 20261120
_SECONDS = 90


async def test_no_generated_request_makes_the_server_fail(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    document = await user.ready(small_pdf(("The picnic is on Sunday.",)))
    frames = await user.ask("When is the picnic?")
    ids = {"document_id": document["id"], "chat_id": frames[0]["chat_id"], "turn_id": frames[0]["turn_id"]}
    answered = await asyncio.to_thread(fuzz, product.url, user, ids)
    assert 300 <= answered.total() <= 800, answered
    # some requests were good, some were not, and none hit a server that had given up
    assert answered[2] and answered[4]
    assert (await user.ask("When is the picnic?"))[-1]["type"] == "end"
    await product.healthy(5)


def fuzz(url: str, user: User, ids: dict[str, str]) -> Counter[int]:
    """How often each class of status was answered."""
    began = time.monotonic()
    answered: Counter[int] = Counter()
    failures: list[str] = []
    for result in schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations():
        operation = result.ok()
        fuzz_operation(operation, url, user, ids, answered, failures)
        assert time.monotonic() - began < _SECONDS, f"too slow: {answered} up to {operation.label}"
    assert failures == [], "\n".join(failures[:5])
    return answered


def fuzz_operation(
    operation: Any, url: str, user: User, ids: dict[str, str], answered: Counter[int], failures: list[str]
) -> None:
    chance = random.Random(operation.label)
    deletes = operation.method.upper() == "DELETE"

    @seed(_SEED)
    @settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def try_it(case: Any) -> None:
        # with ids of objects that exist, a request gets further than to "not found"
        for name in case.path_parameters or {}:
            if name in ids and not deletes and chance.random() < 0.6:
                case.path_parameters[name] = ids[name]
        response = case.call(base_url=url, headers=user.headers, timeout=15)
        answered[response.status_code // 100] += 1
        # 503 would say that something behind is away, and nothing is
        if response.status_code >= 500:
            failures.append(f"{response.status_code} {response.text}\n{case.as_curl_command(headers={})}")

    try_it()
