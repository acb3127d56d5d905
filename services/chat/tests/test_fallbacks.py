"""A second model answers where the first is down: nothing is shown twice, each call is booked once, whoever dies."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from redis.exceptions import RedisError

from docuchat_chat.adapters.provider_clients import ProviderClients
from docuchat_chat.adapters.provider_health import RedisWatch
from docuchat_chat.answers.environment import EnvironmentModels
from docuchat_chat.answers.errors import ModelNotAllowed
from docuchat_chat.answers.ports import ServedModel
from docuchat_chat.answers.prompt import count_prompt
from docuchat_chat.chatbots.domain import Config, NewChatbot
from docuchat_chat.chatbots.service import ChatbotService
from docuchat_chat.conversations.errors import MessageTooLong
from docuchat_chat.mcp.schemas import AskResult
from docuchat_chat.openai_api.completions import completion_of
from docuchat_chat.openai_api.responses import Given
from docuchat_chat.openai_api.responses_views import ResponseView
from docuchat_chat.providers.domain import environments
from docuchat_chat.providers.models import WatchedModel
from docuchat_chat.providers.probing import Probing
from docuchat_chat.turns.domain import Branch, BranchKind, Question, TurnState
from docuchat_common.clock import SystemClock
from docuchat_common.errors import QuotaExceeded, UpstreamUnavailable
from docuchat_common.ids import CollectionId, MessageId, TenantId
from docuchat_common.metering import call_id_of, event_id_of
from docuchat_models.chat import Piece, TokenUsage
from docuchat_models.errors import (
    ProviderFailed,
    ProviderInterrupted,
    ProviderRateLimited,
    ProviderRefused,
    ProviderTimeout,
)
from docuchat_models.providers import Listing
from docuchat_testkit.eventually import eventually

fakes = sys.modules["chat_fakes"]
QUESTION = "How long is the warranty?"
FIRST, SECOND = "gpt-4o-mini", "spare/small"
FIGURES = TokenUsage(210, 7)


class TwoModels:
    """The world's model, and one of another provider."""

    def __init__(self, world: Any) -> None:
        self._world = world
        self.spare = fakes.ScriptedModel(scripts=[["Two years [1].", "stop"]], usage=FIGURES)
        self.down: set[str] = set()
        self.asked: list[int] = []
        self.first: EnvironmentModels | None = None
        self.window: int | None = None
        self.name = "small"

    async def find(self, tenant_id: TenantId, model: str) -> ServedModel:
        if model == SECOND:
            return ServedModel(SECOND, "spare", self.name, self.spare, SECOND in self.down, self.window)
        if model == FIRST and self.first is not None and not self.down:
            return await self.first.find(tenant_id, model)
        if model == FIRST:
            return ServedModel(FIRST, "openai", FIRST, self._world.model, is_down=FIRST in self.down)
        raise ModelNotAllowed(allowed_models=[FIRST, SECOND])


class Watched:
    """The first model as the environment's, whose provider is watched."""

    def __init__(self, two: Any) -> None:
        self._two = two
        self._now = datetime.now(UTC)
        self._provider = environments("https://api.example.com/v1", "openai", [FIRST])
        self._status: int | None = 200
        self.answers = two.model
        self._connect(two._redis_url)

    def later(self, by: timedelta) -> None:
        self._now += by

    async def close(self) -> None:
        await self._redis.aclose()

    async def without_redis(self) -> None:
        await self.close()
        self._connect("redis://127.0.0.1:1/0")

    @property
    def state(self) -> str:
        return self.watch.of(self._provider.id).state

    async def list_models(self) -> Listing:
        return Listing(self._status)

    async def probe(self, status: int) -> None:
        """Let it be asked for its models, long after the probe before."""
        self._status = status
        self.later(timedelta(minutes=5))
        with suppress(RedisError):
            await self._redis.delete(f"chat:provider_probes:{self._provider.id}")
        await self._probing.sweep()

    def now(self) -> datetime:
        return self._now

    def _connect(self, url: str) -> None:
        self._redis = Redis.from_url(url, protocol=2)
        clients = ProviderClients(lambda _: self._two.never(), kept={self._provider.id: self})
        self.watch = RedisWatch(self._redis, self.now)
        self._probing = Probing(self._two.transactions, clients, self.watch, self, environment=self._provider)
        self._two.models.first = EnvironmentModels(
            WatchedModel(self._provider, clients, self.watch), "openai", [FIRST], is_down=lambda: self.state == "down"
        )


@pytest_asyncio.fixture
async def watched(two: Any) -> AsyncIterator[Watched]:
    watched = Watched(two)
    yield watched
    await watched.close()


@pytest.fixture
def two(world: Any) -> Any:
    """A process with a model that stands by."""
    world.models = TwoModels(world)
    world.with_policy(fallback_model=SECOND, provider_attempts=1)
    return world


async def booked(world: Any) -> list[tuple[str, str, int, int, bool]]:
    return [(e.provider, e.model, e.input_tokens, e.output_tokens, e.estimated) for e in await world.chat_usage()]


def falls(reason: str) -> float:
    return REGISTRY.get_sample_value("docuchat_chat_fallbacks_total", {"reason": reason}) or 0.0


@pytest.mark.parametrize(
    ("script", "reason", "is_billed"),
    [
        ([ProviderRateLimited()], "provider_rate_limited", False),
        ([ProviderFailed()], "provider_error", False),
        ([ProviderTimeout()], "provider_timeout", True),
        (["accept", asyncio.Event()], "provider_timeout", True),
        (["accept", ProviderInterrupted()], "provider_interrupted", True),
    ],
    ids=["429", "5xx", "silent before the head", "silent before the first token", "cut before the first token"],
)
async def test_the_second_model_answers_when_the_first_fails_before_its_first_token(
    two: Any, script: list[Any], reason: str, is_billed: bool
) -> None:
    two.with_policy(first_token_timeout=timedelta(milliseconds=100))
    two.model.scripts, before = [script], falls(reason)
    events = await two.ask()
    assert [e["type"] for e in events] == ["start", "sources", "delta", "end"]
    assert (events[0]["model"], events[-1]["model"]) == (FIRST, SECOND)
    assert events[-1]["fallback"] == {"from": FIRST, "reason": reason} and falls(reason) == before + 1
    (turn,) = [await two.turn(row["id"]) for row in await two.rows("SELECT id FROM chat.turns")]
    first = [("openai", FIRST, turn.prompt_tokens, 0, True)] if is_billed else []
    assert await booked(two) == [*first, ("spare", "small", 210, 7, False)]
    assert two.models.spare.requests[0].model == "small"
    assert (two.holds.priced, two.second_holds.priced) == ([("openai", FIRST)], [("spare", "small")])


async def test_the_holds_of_both_calls_are_closed_and_the_message_counts_once(two: Any) -> None:
    two.model.scripts = [[ProviderFailed()]]
    await two.ask()
    (usage,) = await two.chat_usage()
    assert list(two.holds.open_holds) == [usage.hold_id], "the ledger settles it"
    assert len(two.holds.settled) == 1 and two.holds.released == []


async def test_a_first_call_that_may_be_billed_settles_its_own_hold(two: Any) -> None:
    two.model.scripts = [[ProviderTimeout()]]
    await two.ask()
    first, second = await two.chat_usage()
    assert list(two.holds.open_holds) == [first.hold_id, second.hold_id]
    assert two.holds.open_holds[first.hold_id] == first.input_tokens, "no more is kept back than it may cost"
    assert (two.holds.settled, two.holds.released) == ([], [])


async def test_the_second_is_held_by_its_own_vocabulary_while_a_first_that_costs_nothing_holds_nothing(
    two: Any,
) -> None:
    two.model.scripts, two.second_holds.gate = [[ProviderFailed()]], asyncio.Event()
    two.models.name = "gpt-4"
    asking = asyncio.create_task(two.ask("گارانتی این دستگاه چند سال است و از چه روزی حساب می‌شود؟"))
    await eventually(lambda: two.second_holds.asked)
    assert list(two.holds.open_holds.values()) == [0]
    two.second_holds.gate.set()
    await asking
    (request,) = two.models.spare.requests
    first, second = (count_prompt(request.messages, two.counters(name)) for name in (FIRST, "gpt-4"))
    assert first != second and two.second_holds.opened == [second + request.max_output_tokens]


async def test_what_was_stored_says_who_answered(two: Any) -> None:
    two.model.scripts = [[ProviderFailed()]]
    answering = await two.asking.ask(two.caller, Question(QUESTION), key="k", attach=True)
    live = await two.collect(answering.events(-1))
    answer = await answering.result()
    assert (answer.message.model, answer.message.metadata["fallback"]["from"]) == (SECOND, FIRST)
    told = AskResult.of(answer).model_dump(by_alias=True)
    assert (told["model"], told["fallback"]) == (SECOND, {"from": FIRST, "reason": "provider_error"})
    completion = completion_of(answer, FIRST).model_dump(by_alias=True)
    assert (completion["model"], completion["docuchat"]["fallback"]["from"]) == (SECOND, FIRST)
    response = ResponseView.of(answer, Given(model=FIRST)).model_dump(by_alias=True)
    assert (response["model"], response["docuchat"]["fallback"]["from"]) == (SECOND, FIRST)
    ((model, stored),) = await two.rows("SELECT model, metadata->'fallback' FROM chat.messages WHERE role <> 'user'")
    assert (model, stored) == (SECOND, '{"from": "gpt-4o-mini", "reason": "provider_error"}')
    again = await two.asking.ask(two.caller, Question(QUESTION), key="k", attach=True)
    assert await two.collect(again.events(-1)) == live, "each frame as it was sent"
    assert len(two.models.spare.requests) == 1


async def test_a_chatbot_has_a_second_model_of_its_own_or_none(two: Any) -> None:
    two.model.scripts = [[ProviderFailed()]]
    manager = replace(two.caller, role="admin")
    chatbots = ChatbotService(two.transactions, fakes.FakeCredentials(), SystemClock(), models=two.models, most=9)
    (row,) = await two.rows("SELECT id FROM knowledge.collections WHERE tenant_id = 1 AND is_default")
    for standby, ended in ((SECOND, "end"), (None, "error")):
        config = Config(collections=(CollectionId(UUID(str(row["id"]))),), fallback_model=standby)
        made = await chatbots.create(manager, NewChatbot("Shop", config=config, publish=True))
        chatbot_id = UUID(str(made.edited.chatbot.id))
        assert (await two.ask(chatbot_id=chatbot_id))[-1]["type"] == ended


async def test_after_the_first_token_nothing_falls_back(two: Any) -> None:
    for script in (["Two ", ProviderFailed()], [Piece(), Piece(thoughts="Hm."), ProviderFailed()]):
        two.model.scripts = [script]
        events = await two.ask()
        assert (events[-1]["type"], events[-1]["code"]) == ("error", "provider_error")
    assert two.models.spare.requests == [] and two.second_holds.asked == 0


async def test_a_refusal_is_no_outage(two: Any) -> None:
    two.model.scripts = [[ProviderRefused()]]
    events = await two.ask()
    assert events[-1]["code"] == "provider_refused" and two.models.spare.requests == []


async def test_when_both_are_down_the_second_says_so_and_nothing_is_held_or_booked(two: Any) -> None:
    two.model.scripts, two.models.spare.scripts = [[ProviderFailed()]], [[ProviderRateLimited()]]
    events = await two.ask()
    assert events[-1]["code"] == "provider_rate_limited" and await two.chat_usage() == []
    assert two.holds.open_holds == {} and two.holds.settled == []
    assert (len(two.model.requests), len(two.models.spare.requests)) == (1, 1)


async def test_a_second_call_that_costs_nothing_is_not_booked_beside_a_first_that_does(two: Any) -> None:
    two.model.scripts, two.models.spare.scripts = [[ProviderTimeout()]], [[ProviderFailed()]]
    events = await two.ask()
    assert (events[-1]["code"], events[-1]["status"]) == ("provider_error", "failed")
    assert [entry[0] for entry in await booked(two)] == ["openai"]


async def test_without_the_budget_for_the_second_the_first_says_what_happened(two: Any) -> None:
    two.model.scripts, two.second_holds.refusal = [[ProviderTimeout()]], QuotaExceeded()
    events = await two.ask()
    assert events[-1]["code"] == "provider_timeout" and two.models.spare.requests == []
    assert [entry[0] for entry in await booked(two)] == ["openai"]


async def test_a_model_whose_provider_is_known_to_be_down_is_not_asked(two: Any) -> None:
    two.models.down = {FIRST}
    before = falls("provider_down")
    events = await two.ask()
    assert (events[0]["model"], events[-1]["model"]) == (FIRST, SECOND)
    assert events[-1]["fallback"] == {"from": FIRST, "reason": "provider_down"} and falls("provider_down") == before + 1
    assert two.model.requests == [] and two.second_holds.asked == 0 and two.holds.priced == [("spare", "small")]
    (row,) = await two.rows("SELECT id FROM chat.turns")
    assert await two.collect(await two.replay.resume(two.caller, row["id"], -1)) == events
    two.models.down = {FIRST, SECOND}
    assert (await two.ask())[-1]["model"] == FIRST, "when both are said to be down, the first is tried"


async def test_after_three_failures_the_environments_provider_is_skipped_until_a_probe_finds_it_well(
    watched: Watched, two: Any
) -> None:
    two.model.scripts = [[ProviderFailed()]]
    for _ in range(5):
        assert (await two.ask())[-1]["model"] == SECOND
    assert len(two.model.requests) == 3 and watched.state == "down"
    await watched.probe(503)
    assert (await two.ask())[-1]["model"] == SECOND
    two.model.scripts = [["Two years [1].", "stop"]]
    await watched.probe(200)
    assert [(await two.ask())[-1]["model"] for _ in range(2)] == [FIRST, FIRST] and watched.state == "ok"


async def test_a_provider_that_takes_no_more_requests_for_a_minute_is_down(watched: Watched, two: Any) -> None:
    two.model.scripts = [[ProviderRateLimited()]]
    for _ in range(4):
        assert (await two.ask())[-1]["fallback"]["reason"] == "provider_rate_limited"
    assert len(two.model.requests) == 4 and watched.state == "degraded"
    watched.later(timedelta(seconds=61))
    assert (await two.ask())[-1]["fallback"]["reason"] == "provider_rate_limited" and watched.state == "down"
    assert (await two.ask())[-1]["fallback"]["reason"] == "provider_down" and len(two.model.requests) == 5
    await watched.probe(200)
    assert (await two.ask())[-1]["fallback"]["reason"] == "provider_rate_limited"
    assert watched.state == "down", "a list of models says nothing of limits: the first question tells"


async def test_while_redis_is_away_questions_are_answered_and_providers_found_well_again(
    watched: Watched, two: Any
) -> None:
    await watched.without_redis()
    two.model.scripts = [[ProviderFailed()]]
    for _ in range(4):
        assert (await two.ask())[-1]["model"] == SECOND
        with pytest.raises(UpstreamUnavailable):
            await watched.watch.share()
    assert len(two.model.requests) == 3 and watched.state == "down"
    two.model.scripts = [["Two years [1].", "stop"]]
    await watched.probe(200)
    assert (await two.ask())[-1]["model"] == FIRST and watched.state == "ok"


async def test_less_patience_is_had_where_another_model_stands_by(watched: Watched, two: Any) -> None:
    two.with_policy(fallback_after=timedelta(milliseconds=100))
    two.model.scripts = [["accept", asyncio.Event()]]
    for _ in range(3):
        assert (await two.ask())[-1]["fallback"] == {"from": FIRST, "reason": "provider_timeout"}
    assert watched.state == "down", "silence counts by the time that was given"
    two.models.down = {FIRST}
    gate = asyncio.Event()
    two.models.spare.scripts = [[gate, "Two years [1].", "stop"]]
    live = await begin(two)
    assert live.standby is None
    await asyncio.sleep(0.3)
    assert not live.finished.is_set(), "nobody stands by for the second"
    gate.set()
    await live.finished.wait()
    assert live.outcome.state is TurnState.COMPLETED


async def test_another_answer_is_asked_of_the_first_model_again(two: Any) -> None:
    two.model.scripts = [[ProviderFailed()], ["Two years [1].", "stop"]]
    start, *_ = await two.ask()
    again = await two.ask("", branch=Branch(BranchKind.REGENERATE, MessageId(start["message_id"])))
    assert (again[-1]["model"], "fallback" in again[-1]) == (FIRST, False)


async def test_a_model_that_stands_by_for_itself_or_is_not_allowed_is_none(two: Any) -> None:
    two.model.scripts = [[ProviderFailed()]]
    for standby in (FIRST, "gone/model"):
        two.with_policy(fallback_model=standby)
        assert (await two.ask())[-1]["code"] == "provider_error"
    assert (len(two.model.requests), two.second_holds.asked) == (2, 0), "each question was asked once"


async def test_a_prompt_and_its_answer_fit_into_the_window_of_who_answers_and_of_who_stands_by(two: Any) -> None:
    counter = two.counters("small")

    def within(window: int) -> Any:
        async def answer(request: Any) -> AsyncIterator[Piece]:
            tokens = count_prompt(request.messages, counter) + request.max_output_tokens
            two.models.asked.append(tokens)
            if tokens > window:
                raise ProviderRefused("The prompt is too long for the model.")
            yield Piece("Two years [1].")
            yield Piece(finish_reason="stop")

        return answer

    for window in (4000, 1200):
        two.models.window, two.models.spare.answer = window, within(window)
        for down in (set(), {FIRST}):
            two.models.down = down
            two.model.scripts = [[ProviderFailed()]]
            assert (await two.ask())[-1]["model"] == SECOND
    assert len(two.models.asked) == 4
    two.models.window = 256
    with pytest.raises(MessageTooLong):
        await two.ask()


# --- who dies, and when


async def died(world: Any) -> Any:
    """Another process, after the first has died."""
    other = await world.other_process()
    await world.die()
    assert await other.recovery.sweep() == 1
    assert await other.recovery.sweep() == 0
    return other


async def begin(two: Any) -> Any:
    answering = await two.asking.ask(two.caller, Question(QUESTION))
    return two.registry.turns[answering.turn.id]


@pytest.mark.parametrize("is_billed", [False, True])
async def test_killed_between_the_calls_before_the_turn_moved_on(two: Any, is_billed: bool) -> None:
    two.model.scripts = [[ProviderTimeout() if is_billed else ProviderFailed()]]
    two.second_holds.gate = asyncio.Event()
    live = await begin(two)
    await eventually(lambda: two.second_holds.asked == 1)
    await died(two)
    assert await booked(two) == ([("openai", FIRST, live.turn.prompt_tokens, 0, True)] if is_billed else [])
    stored = await two.turn(live.turn.id)
    assert stored.state is (TurnState.INTERRUPTED if is_billed else TurnState.FAILED) and stored.fallback is None


@pytest.mark.parametrize("is_billed", [False, True])
async def test_killed_between_the_calls_after_the_turn_moved_on(two: Any, is_billed: bool) -> None:
    two.model.scripts = [[ProviderTimeout() if is_billed else ProviderFailed()]]
    noted = asyncio.Event()

    def second(_: Any) -> None:
        noted.set()
        raise asyncio.CancelledError  # the process is dead from here on

    two.spool.second = second
    two.generator._settle = lambda *_: asyncio.Event().wait()
    live = await begin(two)
    await noted.wait()
    assert live.turn.fallback is not None
    other = await died(two)
    assert two.models.spare.requests == []
    assert await booked(other) == ([("openai", FIRST, live.turn.prompt_tokens, 0, True)] if is_billed else [])
    assert (await two.turn(live.turn.id)).state is TurnState.FAILED
    assert live.turn.hold_id in two.holds.released


@pytest.mark.parametrize("is_billed", [False, True])
async def test_killed_while_the_second_answers(two: Any, is_billed: bool) -> None:
    two.model.scripts = [[ProviderTimeout() if is_billed else ProviderFailed()]]
    two.models.spare.scripts = [["The warranty ", "lasts ", asyncio.Event()]]
    live = await begin(two)
    await eventually(lambda: len(live.log.texts) == 2)
    await died(two)
    tokens = two.counters("small").count("The warranty lasts ")
    first = [("openai", FIRST, live.turn.prompt_tokens, 0, True)] if is_billed else []
    assert await booked(two) == [*first, ("spare", "small", live.turn.prompt_tokens, tokens, True)]
    ids = [event.id for event in await two.chat_usage()]
    turn_id = live.turn.id
    assert ids == [*([event_id_of(call_id_of(turn_id, "first"))] if is_billed else []), event_id_of(turn_id)]
    assert len(two.holds.settled) == (0 if is_billed else 1), "the message counts"
    ((model, stored),) = await two.rows("SELECT model, metadata->'fallback' FROM chat.messages WHERE role <> 'user'")
    assert model == SECOND and FIRST in stored


async def test_killed_where_a_known_outage_was_gone_round(two: Any) -> None:
    two.models.down = {FIRST}
    two.models.spare.scripts = [["The warranty ", asyncio.Event()]]
    live = await begin(two)
    await eventually(lambda: len(live.log.texts) == 1)
    await died(two)
    ((provider, model, _, tokens, estimated),) = await booked(two)
    assert (provider, model, tokens > 0, estimated) == ("spare", "small", True, True)


@pytest.mark.parametrize("is_billed", [False, True])
async def test_a_move_whose_commit_was_not_answered_is_made_once(two: Any, is_billed: bool) -> None:
    gate = asyncio.Event()
    two.model.scripts = [[gate, ProviderTimeout() if is_billed else ProviderFailed()]]
    live = await begin(two)
    await eventually(lambda: bool(two.model.requests))
    two.transactions.lose_next = 1
    gate.set()
    await live.finished.wait()
    assert two.transactions.lost == 1 and live.outcome.state is TurnState.COMPLETED
    assert [entry[0] for entry in await booked(two)] == (["openai", "spare"] if is_billed else ["spare"])


@pytest.mark.parametrize("is_billed", [False, True])
async def test_a_move_of_which_nothing_is_heard_is_found_when_the_turn_is_settled(two: Any, is_billed: bool) -> None:
    two.model.scripts = [[ProviderTimeout() if is_billed else ProviderFailed()]]
    write = two.generator._fallbacks._write

    async def unheard(*call: Any) -> bool:
        await write(*call)
        raise UpstreamUnavailable("The answer was lost.")

    two.generator._fallbacks._write = unheard
    events = await two.ask()
    assert events[-1]["type"] == "error" and two.models.spare.requests == []
    assert [entry[0] for entry in await booked(two)] == (["openai"] if is_billed else [])
    (row,) = await two.rows("SELECT state, fallback IS NULL AS is_first FROM chat.turns")
    assert row["state"] in ("failed", "interrupted") and not row["is_first"]


async def test_a_stop_while_the_turn_moves_on_is_one_end(two: Any) -> None:
    two.model.scripts, two.second_holds.gate = [[ProviderTimeout()]], asyncio.Event()
    live = await begin(two)
    await eventually(lambda: two.second_holds.asked == 1)
    live.stop()
    await live.finished.wait()
    assert live.outcome.state is TurnState.STOPPED and [entry[0] for entry in await booked(two)] == ["openai"]
    two.second_holds.gate.set()  # usage holds what it was asked for, whoever has left
    await eventually(lambda: bool(two.second_holds.opened) and two.second_holds.released != [])
    assert two.second_holds.open_holds.keys() <= {live.turn.hold_id}


async def test_a_stop_while_a_move_fails_leaves_nothing_held(two: Any) -> None:
    two.model.scripts = [[ProviderTimeout()]]
    live = await begin(two)
    moving, gone_on = asyncio.Event(), asyncio.Event()

    async def not_made(*_: object) -> bool:
        moving.set()
        await gone_on.wait()
        raise UpstreamUnavailable

    two.generator._fallbacks._write = not_made
    await moving.wait()
    live.stop()
    gone_on.set()
    await live.finished.wait()
    await eventually(lambda: two.second_holds.released != [])
    assert two.second_holds.open_holds.keys() <= {live.turn.hold_id}
