"""Generated requests over the whole public surface: whatever is sent, the server answers as described (S10)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any
from urllib.parse import urlsplit

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings

from docuchat_common.http.problems import PROBLEM_JSON
from docuchat_testkit.documented import Documented
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle

_SEED = 20261120


@pytest.mark.parametrize(
    ("examples", "at_least"), [(15, 300), pytest.param(250, 5_000, marks=[pytest.mark.full, pytest.mark.timeout(1200)])]
)
async def test_no_generated_request_makes_the_server_fail(
    product: Product, user: User, stub_provider: StubProviderHandle, examples: int, at_least: int
) -> None:
    document = await user.ready(small_pdf(("The picnic is on Sunday.",)))
    frames = await user.ask("When is the picnic?")
    ids = {"document_id": document["id"], "chat_id": frames[0]["chat_id"], "turn_id": frames[0]["turn_id"]}
    answered = await asyncio.to_thread(fuzz, product.url, user, ids, examples)
    print(f"S10: {answered.total()} generated requests, by class of status: {dict(sorted(answered.items()))}")
    assert answered.total() >= at_least, answered
    # some requests were good, some were not, and none hit a server that had given up
    assert answered[2] and answered[4]
    assert (await user.ask("When is the picnic?"))[-1]["type"] == "end"
    await product.healthy(5)


def fuzz(url: str, user: User, ids: dict[str, str], examples: int) -> Counter[int]:
    """How often each class of status was answered, with up to so many requests for each operation."""
    answered: Counter[int] = Counter()
    failures: list[str] = []
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    documented = Documented(schema.raw_schema)
    for result in schema.get_all_operations():
        operation = result.ok()
        fuzz_operation(operation, url, user, ids, examples, answered, failures, documented)
    assert failures == [], "\n".join(failures[:5])
    return answered


def fuzz_operation(
    operation: Any,
    url: str,
    user: User,
    ids: dict[str, str],
    examples: int,
    answered: Counter[int],
    failures: list[str],
    documented: Documented,
) -> None:
    chance = random.Random(operation.label)
    deletes = operation.method.upper() == "DELETE"

    @seed(_SEED)
    @settings(
        max_examples=examples,
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
        if response.headers.get("content-type") == [PROBLEM_JSON]:
            path = urlsplit(response.request.url).path
            documented.check(case.method, path, response.status_code, response.content)
        # 503 would say that something behind is away, and nothing is
        if response.status_code >= 500:
            failures.append(f"{response.status_code} {response.text}\n{case.as_curl_command(headers={})}")

    try_it()
