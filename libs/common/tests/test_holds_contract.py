"""The holds' contract: what passes over the wire, and what is refused before it is sent."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from docuchat_common.contracts.holds import HoldRequest, HoldUnit

GOOD: dict[str, Any] = {
    "tenant_id": 1, "subjects": [{"type": "user", "id": "u"}], "kind": "chat", "provider": "openai", "model": "m",
    "amounts": [{"unit": "input_tokens", "amount": 3}, {"unit": "messages", "amount": 1}], "lease": 90.0,
}  # fmt: skip


def test_a_request_survives_the_wire() -> None:
    request = HoldRequest.model_validate(GOOD)
    assert request.model_dump(mode="json", exclude_defaults=True) == GOOD  # so is it sent
    assert request.lease == timedelta(seconds=90)
    assert [request.amount_of(unit) for unit in (HoldUnit.INPUT_TOKENS, HoldUnit.PAGES)] == [3, 0]


@pytest.mark.parametrize(
    "changes",
    [
        {"provider": None},
        {"model": None},
        {"amounts": []},
        {"amounts": [{"unit": "pages", "amount": -1}]},
        {"amounts": [{"unit": "pages", "amount": 1}, {"unit": "pages", "amount": 2}]},
        {"amounts": [{"unit": "output_tokens", "amount": 10**9}]},
        {"subjects": [{"type": "user", "id": "a"}, {"type": "user", "id": "b"}]},
        {"subjects": [{"type": "tenant", "id": "1"}]},
        {"kind": "gift"},
        {"lease": 0},
        {"lease": 100_000},
        {"tenant_id": 10**20},
        {"tokens": 3},
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HoldRequest.model_validate({**GOOD, **changes})


def test_only_tokens_need_a_provider_and_a_model() -> None:
    HoldRequest.model_validate(
        {"tenant_id": 1, "kind": "upload", "amounts": [{"unit": "documents", "amount": 1}], "lease": 60}
    )
