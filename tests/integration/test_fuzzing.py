"""Generated requests over the whole public surface: whatever is sent, the server answers as described (S10).

Each operation is asked as who may: an owner with everything that ids can name in the tenant, or an operator with a
tenant to work on; now and then as nobody. Half of the requests fit the description, half do not.
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from docuchat_common.http.problems import PROBLEM_JSON
from docuchat_testkit.documented import Documented
from docuchat_testkit.product import Product, User, small_pdf
from docuchat_testkit.provider_process import StubProviderHandle

_SEED: Final = 20261120
_CHECKS: Final = [response_schema_conformance, content_type_conformance]
"""Of a stream only the second: the document's schema is that of an event's data, not of the event."""
_ENDS_WHAT_FOLLOWS: Final = ("/v1/tenant", "/v1/auth/logout")
"""Asked last: a tenant that is to be deleted, or asks more of its people, refuses the rest."""
_FIRST_NUMBERS: Final = 10**6
_NAMES_WHAT_EXISTS: Final = 0.6


_EXAMPLES: Final = 64
"""Of each operation."""
_AT_LEAST: Final = 5_000


@pytest.mark.full
@pytest.mark.timeout(1800)
async def test_no_generated_request_makes_the_server_fail(
    product: Product, user: User, stub_provider: StubProviderHandle
) -> None:
    async with (
        product.user(await product.new_tenant()) as owner,
        product.user(owner.tenant_id) as member,
        product.user(await product.new_tenant()) as operated,
    ):
        ids = await everything_in(owner, member)
        of_operator = {"tenant": str(operated.tenant_id), "tenant_id": str(operated.tenant_id), "user": operated.id}
        key = json.loads((product.running.folder / "operator.json").read_text())["key"]
        fuzzing = Fuzzing(product.url, owner.headers, key, ids | of_operator, _EXAMPLES)
        await asyncio.to_thread(fuzzing.run)
    answered = fuzzing.answered
    print(f"S10: {answered.total()} generated requests, by class of status: {dict(sorted(answered.items()))}")
    assert answered.total() >= _AT_LEAST, answered
    # some requests were good, some were not, and none hit a server that had given up
    assert answered[2] and answered[4]
    assert fuzzing.never_admitted() == []
    assert (await user.ask("When is the picnic?"))[-1]["type"] == "end"
    await product.healthy(5)


async def everything_in(owner: User, member: User) -> dict[str, str]:
    """An object of each kind, by the name that paths give its id."""
    document = await owner.ready(small_pdf(("The picnic is on Sunday.",)))
    frames = await owner.ask("When is the picnic?")
    sources = next(frame["sources"] for frame in frames if frame["type"] == "sources")

    async def made(path: str, **body: Any) -> str:
        answer = await owner.http.post(path, json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return {
        "document_id": document["id"],
        "chunk_id": sources[0]["chunk_id"],
        "chat_id": frames[0]["chat_id"],
        "turn_id": frames[0]["turn_id"],
        "user_id": member.id,
        "member_id": member.id,
        "group_id": await made("/v1/groups", name="Readers"),
        "collection_id": await made("/v1/collections", name="Papers", visibility="restricted"),
        "key_id": await made("/v1/api-keys", name="nightly", scopes=["documents.read"]),
        "invitation_id": await made("/v1/invitations", email="ben@example.com"),
    }


@dataclass
class Fuzzing:
    """Requests made up from the description, and how often each class of status was answered."""

    url: str
    owner: dict[str, str]
    operator_key: str
    ids: dict[str, str]
    examples: int
    answered: Counter[int] = field(default_factory=Counter)
    by_operation: dict[str, Counter[int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        schema = schemathesis.openapi.from_url(f"{self.url}/openapi.json")
        documented = Documented(schema.raw_schema)
        operations = [result.ok() for result in schema.get_all_operations()]
        for operation in sorted(operations, key=lambda it: it.path.startswith(_ENDS_WHAT_FOLLOWS)):
            headers = self.operator() if operation.definition.raw.get("x-permission") == "operator" else self.owner
            for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
                self.try_operation(operation, mode, headers, documented)
        assert self.failures == [], "\n".join(self.failures[:5])

    def operator(self) -> dict[str, str]:
        token = httpx2.post(f"{self.url}/v1/operator/token", json={"key": self.operator_key}, trust_env=False).json()
        return {"Authorization": f"Bearer {token['access_token']}"}

    def never_admitted(self) -> list[str]:
        """Operations that nobody reached: every answer was about the credential."""
        return [label for label, statuses in self.by_operation.items() if set(statuses) <= {401, 403, 429}]

    def try_operation(self, operation: Any, mode: Any, headers: dict[str, str], documented: Documented) -> None:
        chance = random.Random(f"{operation.label} {mode}")
        statuses = self.by_operation.setdefault(operation.label, Counter())

        @seed(_SEED)
        @settings(
            max_examples=(self.examples + 1) // 2,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            verbosity=Verbosity.quiet,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def try_it(case: Any) -> None:
            self.tame(case, chance)
            shown = headers if chance.random() < 0.9 else {}
            response = case.call(base_url=self.url, headers=shown, timeout=15)
            self.answered[response.status_code // 100] += 1
            statuses[response.status_code] += 1
            with self.noted(case):
                if response.headers.get("content-type") == [PROBLEM_JSON]:
                    path = urlsplit(response.request.url).path
                    documented.check(case.method, path, response.status_code, response.content)
                # 503 would say that something behind is away, and nothing is
                assert response.status_code < 500, f"{response.status_code} {response.text}"
                is_stream = response.headers.get("content-type", [""])[0].startswith("text/event-stream")
                case.validate_response(response, checks=_CHECKS[is_stream:])

        try:
            try_it()
        except Unsatisfiable:  # nothing can be wrong about it
            assert mode is GenerationMode.NEGATIVE

    @contextmanager
    def noted(self, case: Any) -> Iterator[None]:
        try:
            yield
        except (AssertionError, FailureGroup) as error:
            self.failures.append(f"{error}\n{case.as_curl_command(headers={})}")

    def tame(self, case: Any, chance: random.Random) -> None:
        """With ids of objects that exist a request gets further than to "not found"; it harms no other test."""
        parameters = case.path_parameters or {}
        for name, value in parameters.items():
            wanted = case.method != "DELETE" and chance.random() < _NAMES_WHAT_EXISTS
            if name in self.ids and (wanted or _may_be_of_another_test(name, value)):
                parameters[name] = self.ids[name]
        if case.path == "/v1/events":  # it would go on
            case.query = {**(case.query or {}), "seconds": 1}
        if isinstance(case.body, dict):
            body = case.body
            if case.path.endswith("/signing-keys/rotate"):
                body["revoke"] = False
            if case.path.endswith("/operator/prices") and isinstance(body.get("model"), str):
                body["model"] = f"fuzz-{uuid.UUID(int=chance.getrandbits(128))}"


def _may_be_of_another_test(name: str, value: Any) -> bool:
    text = str(value).strip()
    return name in {"tenant", "tenant_id"} and text.isdecimal() and int(text) < _FIRST_NUMBERS
