"""What chatbots and their visitors may use: what a question is held under, and who it is booked on."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.answers.terms import NO_TERMS, Terms
from docuchat_chat.chatbots.domain import Config, NewChatbot
from docuchat_chat.turns.domain import Question
from docuchat_chat.turns.policy import Demo
from docuchat_common.errors import RateLimited
from docuchat_common.http.caller import Caller
from docuchat_common.ids import ChatbotId, CollectionId, TenantId, uuid7
from docuchat_models.errors import ProviderRateLimited, ProviderRefused
from docuchat_testkit.eventually import eventually

TENANT = TenantId(1)
HOME, OFFICE = "192.0.2.7", "2001:db8:1::/64"


async def make(world: Any, **fields: Any) -> ChatbotId:
    """A published chatbot of tenant 1 that answers from all of its documents."""
    (row,) = await world.rows("SELECT id FROM knowledge.collections WHERE tenant_id = 1 AND is_default")
    chatbot_id, config = ChatbotId(uuid7()), Config(collections=(CollectionId(UUID(str(row["id"]))),))
    async with world.transactions(TENANT) as tx:
        made = await tx.chatbots.add(TENANT, chatbot_id, NewChatbot("Shop", config=config, **fields))
        await tx.chatbots.publish(made.chatbot, config, None)
    return chatbot_id


def visitor_of(chatbot_id: ChatbotId) -> Caller:
    return Caller(TENANT, "visitor", uuid7(), "visitor", chatbot_id=chatbot_id)


def key_of(chatbot_id: ChatbotId) -> Caller:
    return Caller(TENANT, "chatbot", chatbot_id, "chatbot", chatbot_id=chatbot_id, key_id=uuid7())


async def terms_of(world: Any, caller: Caller, chatbot_id: ChatbotId | None, address: str = HOME) -> Terms:
    question = Question("How long is the warranty?", chatbot_id=chatbot_id)
    await (await world.asking.ask(caller, question, address=address)).result()
    terms: Terms = world.holds.terms[-1]
    return terms


def limits_of(terms: Terms) -> dict[str, int | None]:
    return {f"{limit.type} {limit.unit}": limit.amount for limit in terms.limits}


async def test_a_visitors_question_is_held_for_the_visitor_the_address_and_the_chatbot(world: Any) -> None:
    chatbot_id = await make(world, tokens_per_month=90_000, tokens_per_visitor=5_000)
    visitor = visitor_of(chatbot_id)
    terms = await terms_of(world, visitor, chatbot_id)
    subjects = {subject.type: subject.id for subject in terms.subjects}
    assert (subjects["chatbot"], subjects["visitors"]) == (str(chatbot_id), str(chatbot_id))
    assert limits_of(terms) == {
        "chatbot tokens": 90_000, "chatbot cost": None, "chatbot messages": None, "visitor tokens": 5_000,
        "visitor messages": 10, "address messages": 10, "visitors messages": 1000,
    }  # fmt: skip

    async def address_of(chatbot: ChatbotId, address: str) -> str:
        terms = await terms_of(world, visitor_of(chatbot), chatbot, address)
        return {subject.type: subject.id for subject in terms.subjects}["address"]  # type: ignore[index]

    same, elsewhere = await address_of(chatbot_id, HOME), await address_of(chatbot_id, OFFICE)
    assert same == subjects["address"] != elsewhere != await address_of(await make(world), OFFICE)
    assert HOME not in same and len(same) == 32


@pytest.mark.parametrize(
    ("demo", "own", "limits"),
    [
        (Demo(4, None, 9), None, (4, 4, 9)),
        (Demo(4, 6, 0), 2, (2, 6, None)),
        (Demo(4, 0, 9), None, (4, None, 9)),
        (Demo(4, 6, 9), 0, (None, None, None)),
        (Demo(0, 6, 9), None, (None, None, None)),
        (Demo(0, None, 9), 3, (3, 3, 9)),
    ],
)
async def test_a_demo_is_as_the_chatbot_says_else_as_the_installation(
    world: Any, demo: Demo, own: int | None, limits: tuple[int | None, ...]
) -> None:
    world.demo = demo
    world.wire()
    chatbot_id = await make(world, demo_messages=own)
    stated = limits_of(await terms_of(world, visitor_of(chatbot_id), chatbot_id))
    assert tuple(stated[f"{kind} messages"] for kind in ("visitor", "address", "visitors")) == limits


async def test_users_and_keys_have_no_demo(world: Any) -> None:
    chatbot_id = await make(world, tokens_per_month=90_000)
    for caller in (key_of(chatbot_id), world.caller):
        terms = await terms_of(world, caller, chatbot_id)
        assert [subject.type for subject in terms.subjects] == ["chatbot"]
        assert limits_of(terms) == {"chatbot tokens": 90_000, "chatbot cost": None, "chatbot messages": None}
    assert await terms_of(world, world.caller, None) is NO_TERMS


async def test_an_address_asks_a_chatbot_so_often_whoever_it_says_to_be(world: Any) -> None:
    chatbot_id, other = await make(world), await make(world)

    async def asks(caller: Caller, chatbot: ChatbotId, address: str) -> bool:
        try:
            await terms_of(world, caller, chatbot, address)
        except RateLimited:
            return False
        return True

    world.questions = "2/h"
    world.wire()
    assert [await asks(visitor_of(chatbot_id), chatbot_id, HOME) for _ in range(3)] == [True, True, False]
    asked = world.holds.asked
    assert await asks(visitor_of(chatbot_id), chatbot_id, OFFICE)
    assert await asks(visitor_of(other), other, HOME)
    for _ in range(3):
        assert await asks(key_of(chatbot_id), chatbot_id, HOME)
    assert world.holds.asked == asked + 5


async def test_a_chatbots_tokens_are_booked_on_who_asked_also_by_another_process(world: Any) -> None:
    chatbot_id = await make(world)
    callers = [visitor_of(chatbot_id), key_of(chatbot_id), world.caller]
    for caller in callers:
        await terms_of(world, caller, chatbot_id)
    world.model.scripts = [["Two ", asyncio.Event()] for _ in callers]
    for caller in callers:
        asked = await world.asking.ask(caller, Question("How long is the warranty?", chatbot_id=chatbot_id))
        live = world.registry.turns[asked.turn.id]
        await eventually(lambda live=live: live.log.texts == ["Two "])
    other = await world.other_process()
    await world.die()
    assert await other.recovery.sweep() == 3
    visitor, key, user = callers
    whose = [(None, None, visitor.subject_id), (None, key.key_id, None), (user.subject_id, None, None)]
    booked = await world.chat_usage()
    assert [event.chatbot_id for event in booked] == [chatbot_id] * 6
    assert sorted(map(str, [(event.user_id, event.key_id, event.visitor_id) for event in booked])) == sorted(
        map(str, whose * 2)
    )


@pytest.mark.parametrize(
    ("failure", "is_embedded", "counts"),
    [(ProviderRefused(), True, True), (ProviderRefused(), False, False), (ProviderRateLimited(), True, False)],
)
async def test_what_a_provider_embeds_and_refuses_to_answer_is_a_message(
    world: Any, failure: Exception, is_embedded: bool, counts: bool
) -> None:
    world.embedder.failure = None if is_embedded else ProviderRefused()
    world.with_policy(provider_attempts=1)
    world.model.scripts = [[failure]]
    chatbot_id = await make(world)
    with pytest.raises(type(failure)):
        await terms_of(world, visitor_of(chatbot_id), chatbot_id)
    assert (len(world.holds.settled), len(world.holds.released)) == (counts, not counts)


async def test_the_embedding_of_a_question_is_booked_on_the_chatbot_as_well(world: Any) -> None:
    world.embedder.billable = True
    chatbot_id = await make(world)
    visitor = visitor_of(chatbot_id)
    await terms_of(world, visitor, chatbot_id)
    embeddings = [event for event in await world.usage() if event.kind == "embedding"]
    assert {(event.chatbot_id, event.visitor_id) for event in embeddings} == {(chatbot_id, visitor.subject_id)}
