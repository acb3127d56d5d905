"""Files that are attached to questions: used in the answer and in later ones of the chat, and nobody else's."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from docuchat_chat.answers.domain import Findings
from docuchat_chat.attachments.errors import AttachmentNotFound
from docuchat_chat.attachments.service import AttachmentService
from docuchat_chat.chatbots.domain import Config, NewChatbot
from docuchat_chat.insights.service import InsightService
from docuchat_chat.turns.attached import together
from docuchat_chat.turns.domain import Branch, BranchKind, Question
from docuchat_common.clock import SystemClock
from docuchat_common.events.chats import ChatDeleted
from docuchat_common.ids import ChatbotId, ChatId, DocumentId, MessageId, TenantId, uuid7
from docuchat_testkit.eventually import eventually


async def attach(
    world: Any, seed: Any, text: str = "The motor of the pump is blue.", *, owner: Any = None
) -> DocumentId:
    """A file of the caller's that is ready."""
    document_id: UUID = await seed((text,), title="Pump")
    owner = owner or world.caller.subject_id
    await world.rows(
        "INSERT INTO knowledge.collections (id, tenant_id, name, kind, owner_id, is_default, visibility, languages)"
        " VALUES ($1, 1, 'a', 'attachments', $1, false, 'restricted', '{en}') ON CONFLICT DO NOTHING",
        owner,
    )
    await world.rows("UPDATE knowledge.documents SET collection_id = $1 WHERE id = $2", owner, document_id)
    await world.rows("UPDATE knowledge.chunks SET collection_id = $1 WHERE document_id = $2", owner, document_id)
    await world.rows("UPDATE knowledge.chunk_vectors SET collection_id = $1 WHERE document_id = $2", owner, document_id)
    await world.rows(
        "UPDATE knowledge.collections SET chunk_count = chunk_count + 1, term_total = term_total + 6 WHERE id = $1",
        owner,
    )
    return DocumentId(UUID(str(document_id)))


def cited(frames: list[dict[str, Any]]) -> set[str]:
    return {source["document_id"] for source in frames[1]["sources"]}


async def test_a_file_is_heard_first_and_again_in_its_chat_and_in_no_other(world: Any, seed: Any) -> None:
    attached = await attach(world, seed)
    asked = {"message": "Which colour has the motor, and how long is the warranty?"}
    frames = await world.ask(attachments=(attached,), session_id="s", **asked)
    documents = [source["document_id"] for source in frames[1]["sources"]]
    assert documents[0] == str(attached) and len(set(documents)) == 2, "both are heard"
    assert str(attached) in cited(await world.ask(session_id="s", **asked)), "later questions of the chat, too"
    assert str(attached) not in cited(await world.ask(session_id="other", **asked))
    assert (await world.search.search(world.caller, "motor pump blue", 5, None)).passages[0].document_id != attached

    chat = await world.conversations.get(world.caller, ChatId(UUID(frames[0]["chat_id"])), 10, 0)
    assert [(each.id, each.title) for each in chat.messages[0].attachments] == [(attached, "Pump")]
    again = Question("", branch=Branch(BranchKind.REGENERATE, MessageId(UUID(frames[0]["message_id"]))))
    answering = await world.asking.ask(world.caller, again)
    assert str(attached) in cited(await world.collect(answering.events(-1)))
    edited = Question("Which colour?", branch=Branch(BranchKind.EDIT, MessageId(UUID(str(chat.messages[0].id)))))
    await (await world.asking.ask(world.caller, edited)).result()
    chat = await world.conversations.get(world.caller, chat.chat.id, 10, 0)
    assert [each.id for each in chat.messages[0].attachments] == [attached], "a question in other words has them, too"

    await world.rows("UPDATE knowledge.documents SET deleted_at = now() WHERE id = $1", attached)
    assert str(attached) not in cited(await world.ask(session_id="s", **asked)), "a deleted one is forgotten"
    chat = await world.conversations.get(world.caller, ChatId(UUID(frames[0]["chat_id"])), 10, 0)
    assert [(each.id, each.title) for each in chat.messages[0].attachments] == [(attached, "")]


async def test_only_ones_own_files_are_attached_and_a_refusal_holds_nothing(world: Any, seed: Any) -> None:
    theirs = await attach(world, seed, owner=uuid7())
    (usual,) = await world.rows("SELECT id FROM knowledge.documents WHERE title = 'Handbook'")
    for wrong in (theirs, DocumentId(UUID(str(usual["id"]))), DocumentId(uuid7())):
        with pytest.raises(AttachmentNotFound):
            await world.asking.ask(world.caller, Question("Which colour?", attachments=(wrong,)))
    admin = replace(world.caller, role="admin")
    with pytest.raises(AttachmentNotFound):
        await world.asking.ask(admin, Question("Which colour?", attachments=(theirs,)))
    assert world.model.requests == []


async def test_a_file_that_is_not_read_yet_is_waited_for_and_then_said_so(world: Any, seed: Any) -> None:
    """R13: an answer never rests on something else than what was asked of."""
    attached = await attach(world, seed)
    waits = "UPDATE knowledge.documents SET generation = $2, status = $3 WHERE id = $1"
    await world.rows(waits, attached, 0, "queued")
    frames = await world.ask("How long is the warranty?", attachments=(attached,))
    assert frames[-1]["finish_reason"] == "no_sources"
    assert "still being processed" in "".join(frame.get("token", "") for frame in frames)
    assert world.model.requests == []

    asking = asyncio.create_task(world.ask("Which colour has the motor?", attachments=(attached,)))
    await world.rows(waits, attached, 1, "ready")
    assert str(attached) in cited(await asking)
    await world.rows(waits, attached, 0, "failed")
    frames = await world.ask("Which colour has the motor?", attachments=(attached,))
    assert "failed" in "".join(frame.get("token", "") for frame in frames)


async def test_who_waits_for_a_file_keeps_nobody_from_asking(world: Any, seed: Any) -> None:
    world.with_policy(max_preparing=1, preparation_patience=timedelta(minutes=1), head_patience=timedelta(seconds=20))
    attached = await attach(world, seed)
    state = "UPDATE knowledge.documents SET generation = $2, status = $3 WHERE id = $1"
    await world.rows(state, attached, 0, "queued")
    waiting = asyncio.create_task(world.ask("Which colour has the motor?", attachments=(attached,)))
    await eventually(lambda: world.embedder.asked)
    await world.ask("How long is the warranty?")
    assert not waiting.done()
    await world.rows(state, attached, 1, "ready")
    assert str(attached) in cited(await waiting)


def test_attachments_leave_a_third_to_what_was_found_otherwise() -> None:
    def found(*names: str) -> Findings:
        passages: Any = names
        return Findings(passages)

    own = found("a", "b", "c", "d", "e", "f")
    assert together(own, found("x", "y", "z"), 6) == found("a", "b", "c", "d", "x", "y")
    assert together(own, found("x"), 6) == found("a", "b", "c", "d", "e", "x")
    assert together(found("a"), found("x", "y", "z"), 3) == found("a", "x", "y")


async def test_who_asks_a_chatbot_attaches_own_files_beside_what_the_chatbot_reads(world: Any, seed: Any) -> None:
    attached, chatbot_id = await attach(world, seed), ChatbotId(uuid7())
    async with world.transactions(TenantId(1)) as tx:
        await tx.chatbots.add(TenantId(1), chatbot_id, NewChatbot("Shop", config=Config()))
        edited = await tx.chatbots.find_edited(TenantId(1), chatbot_id, lock=True)
        await tx.chatbots.publish(edited.chatbot, Config(), None)
    frames = await world.ask("Which colour has the motor?", chatbot_id=chatbot_id, attachments=(attached,))
    assert cited(frames) == {str(attached)}
    chat_id = ChatId(UUID(frames[0]["chat_id"]))
    own = (await world.conversations.get(world.caller, chat_id, 10, 0)).messages[1].citations
    assert [citation.quote != "" for citation in own] == [True]
    manager, insights = (
        replace(world.caller, subject_id=uuid7(), role="admin"),
        InsightService(world.transactions, SystemClock()),
    )
    shown = (await insights.get_chat(manager, chatbot_id, chat_id, 10, 0)).messages[1].citations
    assert [(citation.quote, citation.title) for citation in shown] == [("", "")], (
        "who manages it reads no file of theirs"
    )


async def test_files_go_with_the_last_chat_that_uses_them(world: Any, seed: Any) -> None:
    both, one, never = [await attach(world, seed, f"The motor {number} is blue.") for number in range(3)]
    first = await world.ask(attachments=(both, one), session_id="first")
    second = await world.ask(attachments=(both,), session_id="second")
    service, tenant = AttachmentService(world.transactions), world.caller.tenant_id
    assert await service.list_unused(tenant, [both, one, never]) == [never]
    assert set(await service.list_unused(TenantId(2), [both, never])) == {both, never}
    gone = []
    for frames in (first, second):
        await world.conversations.delete(world.caller, ChatId(UUID(frames[0]["chat_id"])))
        told = [event for event in await world.events() if isinstance(event, ChatDeleted)]
        gone.append(told[-1].document_ids)
    assert gone == [(one,), (both,)]
    assert set(await service.list_unused(tenant, [both, one])) == {both, one}
