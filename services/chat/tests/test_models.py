"""Which models may be asked, and what each is called where."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from docuchat_chat.answers.environment import EnvironmentModels
from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_common.ids import TenantId

fakes = sys.modules["chat_fakes"]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ("gpt-4o", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("openai/gpt-oss", "openai/gpt-oss"),
        ("openai/openai/gpt-oss", "openai/gpt-oss"),
    ],
)
async def test_a_model_is_known_by_its_name_and_by_that_of_its_provider_with_it(asked: str, sent: str) -> None:
    models = EnvironmentModels(fakes.ScriptedModel(), "openai", ("gpt-4o", "openai/gpt-oss"))
    served = await models.find(TenantId(1), asked)
    assert (served.name, served.provider, served.model) == (asked, "openai", sent)


@pytest.mark.parametrize("asked", ["gpt-5", "other/gpt-4o", "openai/gpt-5", "", "openai/"])
async def test_no_other_model_is_asked(asked: str) -> None:
    models = EnvironmentModels(fakes.ScriptedModel(), "openai", ("gpt-4o",))
    with pytest.raises(ModelNotAllowed) as refused:
        await models.find(TenantId(1), asked)
    assert refused.value.extensions["allowed_models"] == ["gpt-4o"]


async def test_a_model_with_its_provider_is_shown_as_asked_and_booked_as_it_was_sent(world: Any) -> None:
    start, *_, end = await world.ask(model="openai/gpt-4o")
    assert (start["model"], end["type"]) == ("openai/gpt-4o", "end")
    (booked,) = await world.chat_usage()
    assert (booked.provider, booked.model) == ("openai", "gpt-4o")
    assert world.model.requests[-1].model == "gpt-4o"
    ((stored,),) = await world.rows("SELECT model FROM chat.messages WHERE role = 'assistant'")
    assert stored == "openai/gpt-4o"
