"""Answers given again, questions in other words, and branches: each a turn like any other, beside what was there."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.conversations.domain import ChatChange
from docuchat_chat.conversations.errors import AnswerInProgress, ChatNotFound, NotAQuestion
from docuchat_chat.feedback.errors import MessageNotFound, NotAnAnswer
from docuchat_chat.turns.domain import Branch, BranchKind, Question
from docuchat_common.db.queries import load_queries
from docuchat_common.errors import DocuChatError
from docuchat_common.idempotency import IdempotencyKeyReused
from docuchat_common.ids import ChatId, MessageId, uuid7
from docuchat_testkit.eventually import eventually

FOLLOW, EDIT, REGENERATE = BranchKind.FOLLOW, BranchKind.EDIT, BranchKind.REGENERATE
MANY = 10_000


class Talk:
    """A chat whose questions and answers are told apart by their words."""

    def __init__(self, world: Any) -> None:
        self.world = world
        self.answers = 0
        self.chat_id: ChatId | None = None

    async def say(self, text: str, kind: BranchKind | None = None, of: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask and return the first frame; `of`: that of the turn whose message is branched from."""
        self.answers += 1
        self.world.model.scripts = [[f"Answer {self.answers} [1].", "stop"]]
        self.world.model.requests.clear()
        frames = await self.world.ask(text, **self.where(kind, of))
        assert frames[-1]["type"] == "end"
        self.chat_id = ChatId(UUID(frames[0]["chat_id"]))
        start: dict[str, Any] = frames[0]
        return start

    def where(self, kind: BranchKind | None, of: dict[str, Any] | None) -> dict[str, Any]:
        if kind is None or of is None:
            return {"chat_id": self.chat_id}
        message = of["user_message_id"] if kind is EDIT else of["message_id"]
        return {"branch": Branch(kind, MessageId(UUID(message)))}

    def history(self) -> list[str]:
        """What the model was told of the chat before the question."""
        (request,) = self.world.model.requests
        return [message.content for message in request.messages[1:-1]]

    async def shown(self, *, all_branches: bool = False) -> list[str]:
        found = await self.world.conversations.get(self.world.caller, self.chat_id, 100, 0, all_branches=all_branches)
        return [message.content for message in found.messages]


@pytest.fixture
def talk(world: Any) -> Talk:
    return Talk(world)


async def test_an_answer_given_again_stands_beside_the_first_and_is_booked_like_it(talk: Talk) -> None:
    world = talk.world
    first = await talk.say("How long is the warranty?")
    second = await talk.say("And the motor?")
    again = await talk.say("", REGENERATE, second)
    assert again["user_message_id"] == second["user_message_id"] and again["message_id"] != second["message_id"]
    assert talk.history() == ["How long is the warranty?", "Answer 1 [1]."]
    assert world.model.requests[0].messages[-1].content.endswith("And the motor?")
    assert await talk.shown() == ["How long is the warranty?", "Answer 1 [1].", "And the motor?", "Answer 3 [1]."]
    found = await world.conversations.get(world.caller, talk.chat_id, 100, 0, all_branches=True)
    assert [str(m.parent_id) for m in found.messages[1:]] == [
        first["user_message_id"],
        first["message_id"],
        second["user_message_id"],
        second["user_message_id"],
    ]
    beside = [second["message_id"], again["message_id"]]
    assert [[str(s) for s in m.siblings] for m in found.messages[3:]] == [beside, beside]
    assert str(found.head_id) == again["message_id"] and found.chat.message_count == 5
    assert found.messages[0].parent_id is None and found.messages[0].siblings == (found.messages[0].id,)
    booked = [str(event.turn_id) for event in await world.chat_usage()]
    assert booked == [turn["turn_id"] for turn in (first, second, again)]


async def test_a_question_in_other_words_has_the_history_of_the_first(talk: Talk) -> None:
    first = await talk.say("How long is the warranty?")
    second = await talk.say("And the motor?")
    edited = await talk.say("And the wheels?", EDIT, second)
    assert talk.history() == ["How long is the warranty?", "Answer 1 [1]."]
    assert await talk.shown() == ["How long is the warranty?", "Answer 1 [1].", "And the wheels?", "Answer 3 [1]."]
    await talk.say("Is that all?")
    assert talk.history()[-2:] == ["And the wheels?", "Answer 3 [1]."]
    other = await talk.say("How long is it?", EDIT, first)
    assert talk.history() == [] and await talk.shown() == ["How long is it?", "Answer 5 [1]."]
    assert len(await talk.shown(all_branches=True)) == 10
    found = await talk.world.conversations.get(talk.world.caller, talk.chat_id, 100, 0)
    beginnings = [first["user_message_id"], other["user_message_id"]]
    assert [str(s) for s in found.messages[0].siblings] == beginnings and found.messages[0].parent_id is None
    assert edited["user_message_id"] not in beginnings


async def test_a_branch_that_is_shown_is_gone_on_with_and_the_other_is_kept(talk: Talk) -> None:
    world = talk.world
    first = await talk.say("How long is the warranty?")
    second = await talk.say("And the motor?")
    branch = await talk.say("And the wheels?", FOLLOW, first)
    assert talk.history() == ["How long is the warranty?", "Answer 1 [1]."]
    change = ChatChange(head_id=MessageId(UUID(second["user_message_id"])))
    await world.conversations.change(world.caller, talk.chat_id, change)
    assert await talk.shown() == ["How long is the warranty?", "Answer 1 [1].", "And the motor?", "Answer 2 [1]."]
    await talk.say("Why?")
    assert talk.history()[-2:] == ["And the motor?", "Answer 2 [1]."]
    stored = await world.conversations.add_message(world.caller, talk.chat_id, "A note.", {})
    assert (await talk.shown())[-3:] == ["Why?", "Answer 4 [1].", "A note."]
    change = ChatChange(head_id=MessageId(UUID(branch["message_id"])))
    await world.conversations.change(world.caller, talk.chat_id, change)
    assert (await talk.shown())[-1] == "Answer 3 [1]."
    noted = await world.conversations.add_message(world.caller, talk.chat_id, "Another note.", {})
    assert str(noted.parent_id) == branch["message_id"] != str(stored.parent_id)
    assert (await talk.shown())[-2:] == ["Answer 3 [1].", "Another note."]


async def test_what_is_branched_from_has_to_be_ones_own_and_of_its_kind(talk: Talk) -> None:
    world = talk.world
    first = await talk.say("How long is the warranty?")
    elsewhere = ChatId(UUID((await world.ask("Of another chat?"))[0]["chat_id"]))
    question, answer = MessageId(UUID(first["user_message_id"])), MessageId(UUID(first["message_id"]))

    async def refused(error: type[Exception], branch: Branch, caller: Any = world.caller, **fields: Any) -> None:
        with pytest.raises(error):
            await world.asking.ask(caller, Question("And now?", branch=branch, **fields))

    held = len(world.holds.opened)
    await refused(NotAnAnswer, Branch(REGENERATE, question))
    await refused(NotAQuestion, Branch(EDIT, answer))
    await refused(MessageNotFound, Branch(FOLLOW, answer), chat_id=elsewhere)
    await refused(MessageNotFound, Branch(FOLLOW, answer), session_id="of another name")
    for kind, message in ((FOLLOW, answer), (EDIT, question), (REGENERATE, answer)):
        await refused(MessageNotFound, Branch(kind, message), caller=world.new_caller())
        await refused(MessageNotFound, Branch(kind, message), caller=world.new_caller(tenant=2))
        await refused(MessageNotFound, Branch(kind, MessageId(uuid7())))
    for caller, error in ((world.caller, MessageNotFound), (world.new_caller(), ChatNotFound)):
        with pytest.raises(error):
            await world.conversations.change(caller, elsewhere, ChatChange(head_id=answer))
    assert len(world.holds.opened) == held and len(await world.rows("SELECT FROM chat.turns")) == 2


async def test_an_answer_that_is_still_being_written_is_named_with_its_turn_until_it_is_there(talk: Talk) -> None:
    world, gate = talk.world, asyncio.Event()
    world.model.scripts = [[gate, "Two years [1].", "stop"]]
    answering = await world.asking.ask(world.caller, Question("How long is the warranty?"), key=None)
    chat_id, answer = answering.turn.chat_id, answering.turn.message_id

    async def looks(caller: Any) -> list[DocuChatError]:
        errors = []
        for kind in (REGENERATE, EDIT, FOLLOW):
            with pytest.raises(DocuChatError) as refused:
                await world.asking.ask(caller, Question("And now?", branch=Branch(kind, answer)))
            errors.append(refused.value)
        with pytest.raises(DocuChatError) as refused:
            await world.conversations.change(caller, chat_id, ChatChange(head_id=answer))
        return [*errors, refused.value]

    for error in await looks(world.caller):
        assert isinstance(error, AnswerInProgress) and error.extensions == {"turn_id": str(answering.turn.id)}
    stranger = await looks(world.new_caller())
    assert [type(error) for error in stranger] == [*(MessageNotFound,) * 3, ChatNotFound]
    gate.set()
    await answering.result()
    await world.conversations.change(world.caller, chat_id, ChatChange(head_id=answer))
    world.model.scripts = [["Two years, I said [1].", "stop"]]
    assert (await world.ask("", branch=Branch(REGENERATE, answer)))[-1]["type"] == "end"


async def test_an_answer_is_given_again_from_the_documents_that_were_asked_then(talk: Talk, seed: Any) -> None:
    world = talk.world
    other = await seed(["The guarantee of the boat lasts nine years."], title="Boats")
    start = (await world.ask("How long does it last?", document_ids=(other,)))[0]
    for kind in (REGENERATE, EDIT):
        frames = await world.ask("How long is it?", **talk.where(kind, start))
        assert {source["document_id"] for source in frames[1]["sources"]} == {str(other)}


async def test_branches_that_are_answered_at_once_do_not_disturb_each_other(talk: Talk) -> None:
    world = talk.world
    first = await talk.say("How long is the warranty?")
    gates = [asyncio.Event() for _ in range(4)]
    world.model.scripts = [[gate, f"Branch {number} [1].", "stop"] for number, gate in enumerate(gates)]
    world.model.requests.clear()
    asked = [
        Question("", branch=Branch(REGENERATE, MessageId(UUID(first["message_id"])))),
        Question("", branch=Branch(REGENERATE, MessageId(UUID(first["message_id"])))),
        Question("How long?", branch=Branch(EDIT, MessageId(UUID(first["user_message_id"])))),
        Question("And after it?", chat_id=talk.chat_id),  # while that is answered: it follows the answer to come
    ]
    answering = []
    for number, question in enumerate(asked):
        answering.append(await world.asking.ask(world.caller, question))
        await eventually(lambda expected=number + 1: len(world.model.requests) == expected)
    found = await world.conversations.get(world.caller, talk.chat_id, 100, 0)
    assert found.head_id == answering[-1].turn.message_id
    assert [(m.content, m.parent_id) for m in found.messages] == [
        ("How long?", None),
        ("And after it?", answering[2].turn.message_id),
    ]
    for gate in reversed(gates):
        gate.set()
    results = [await each.result() for each in answering]
    for number, result in enumerate(results):
        assert result.message.content == f"Branch {number} [1]."
        assert (await world.turn(result.turn.id)).state == "completed"
    assert await talk.shown() == ["How long?", "Branch 2 [1].", "And after it?", "Branch 3 [1]."]
    found = await world.conversations.get(world.caller, talk.chat_id, 100, 0, all_branches=True)
    by_id = {message.id: message for message in found.messages}
    for each in answering[:2]:
        assert str(by_id[each.turn.message_id].parent_id) == first["user_message_id"]
    beside = [UUID(first["message_id"]), *(each.turn.message_id for each in answering[:2])]
    assert list(by_id[answering[0].turn.message_id].siblings) == beside
    assert len(await world.chat_usage()) == 5


async def test_one_key_gives_an_answer_again_once(talk: Talk) -> None:
    world = talk.world
    first = await talk.say("How long is the warranty?")
    branch = Branch(REGENERATE, MessageId(UUID(first["message_id"])))
    world.model.requests.clear()
    turns = {(await world.ask("", branch=branch, key="k"))[0]["turn_id"] for _ in range(3)}
    assert len(turns) == 1 and len(world.model.requests) == 1
    with pytest.raises(IdempotencyKeyReused):
        await world.ask("", branch=Branch(REGENERATE, MessageId(uuid7())), key="k")


async def test_of_thousands_beside_each_other_a_message_tells_the_nearest(talk: Talk) -> None:
    world = talk.world
    await talk.say("How long is the warranty?")
    async with world.database.connect() as admin:
        await admin.execute(
            "INSERT INTO chat.messages (id, tenant_id, chat_id, seq, role, content, content_key, status) "
            "SELECT gen_random_uuid(), 1, $1, n, 'assistant', 'm' || n, '', 'complete' FROM generate_series(3, 3000) n",
            talk.chat_id,
        )
        branches = "(SELECT array_agg(ARRAY[n, 1]) FROM generate_series(3, 3000) n)"
        await admin.execute(f"UPDATE chat.chats SET last_seq = 3000, branches = {branches} WHERE id = $1", talk.chat_id)
    found = await world.conversations.get(world.caller, talk.chat_id, 100, 1000, all_branches=True)
    beside = {message.seq: message.siblings for message in found.messages}
    assert {len(siblings) for siblings in beside.values()} == {100}
    assert all(message.id in beside[message.seq] for message in found.messages)


async def test_a_long_chat_with_branches_is_read_by_its_index_a_page_at_a_time(talk: Talk) -> None:
    world = talk.world
    await talk.say("How long is the warranty?")
    async with world.database.connect() as admin:
        await admin.execute(
            "INSERT INTO chat.messages (id, tenant_id, chat_id, seq, role, content, content_key, status) "
            "SELECT gen_random_uuid(), 1, $1, n, CASE WHEN n % 2 = 1 THEN 'user' ELSE 'assistant' END, 'm' || n, '', "
            f"'complete' FROM generate_series(3, {MANY}) n",
            talk.chat_id,
        )
        await admin.execute(
            f"UPDATE chat.chats SET last_seq = {MANY}, branches = '{{{{9001,8000}},{{9501,9400}}}}' WHERE id = $1",
            talk.chat_id,
        )
        await admin.execute("ANALYZE chat.messages")
    found = await world.conversations.get(world.caller, talk.chat_id, 101, 7950)
    assert [m.content for m in found.messages] == [f"m{n}" for n in (*range(7951, 8001), *range(9001, 9052))]
    queries: Any = load_queries("docuchat_chat.conversations")
    for name, own in (
        ("list_messages", {"firsts": [1, 9001, 9501], "lasts": [8000, 9400, MANY], "row_limit": 101}),
        ("list_history", {"seqs": list(range(MANY, MANY - 40, -1)), "row_limit": 20}),
    ):
        plan = await world.explain(queries, name, tenant_id=1, chat_id=talk.chat_id, **own)
        assert "messages_chat_id_seq" in plan and "Seq Scan" not in plan, plan
    await talk.say("Is it over?")
    assert talk.history()[-1] == f"m{MANY}" and len(talk.history()) == world.policy.max_history_messages
