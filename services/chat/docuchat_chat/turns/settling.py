"""The end of a turn: how it ended, and the one transaction that stores and books it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from docuchat_chat.answers.citations import check_citations, documents_of, without_words
from docuchat_chat.answers.domain import Source
from docuchat_chat.answers.release import marked_parts
from docuchat_chat.answers.terms import payers
from docuchat_chat.turns.domain import Outcome, Reason, Settlement, Turn, TurnState
from docuchat_chat.turns.errors import AnswerNotStored, asking_for_new_key
from docuchat_chat.turns.ports import Holds, TurnsTx
from docuchat_common.acts import current_act
from docuchat_common.audit import entry
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import DocuChatError
from docuchat_common.events.chats import ChatMessageCompleted
from docuchat_common.metering import ProviderCall, Used, usage_events

logger = structlog.get_logger()


def conclude(
    *,
    state: TurnState,
    finish_reason: Reason,
    text: str,
    frame_lengths: tuple[int, ...],
    sources: Sequence[Source],
    usage: Used | None,
    text_tokens: int,
    tokenizer: str,
    error: DocuChatError | None,
    now: datetime,
) -> Outcome:
    """Return how a turn ended, its citations checked."""
    citations, not_cited = check_citations(text, sources)
    return Outcome(
        state=state,
        text=text,
        frame_lengths=frame_lengths,
        finish_reason=finish_reason,
        usage=usage,
        finished_at=now,
        citations=citations,
        not_cited=not_cited,
        own_knowledge=marked_parts(text),
        error_code=error.code if error else None,
        error_message=error.detail if error else None,
        retry_after_seconds=_seconds(error.retry_after) if error else None,
        text_tokens=text_tokens,
        tokenizer=tokenizer,
    )


async def settle(
    transactions: Transactions[TurnsTx], turn: Turn, outcome: Outcome, owner: str
) -> tuple[Settlement, Outcome]:
    """Store the answer and book the tokens in one transaction. Returns how the turn ended as its asker may see it."""
    async with transactions.as_caller(turn.caller) as tx:
        kept, shown = await without_what_is_gone(tx, turn, outcome)
        settlement = await tx.turns.finish(turn, kept, owner)
        if settlement is Settlement.DONE_BEFORE:
            return settlement, shown
        if outcome.state is TurnState.FAILED and settlement is Settlement.DONE:
            # Nothing happened, so the same key may try again.
            await tx.requests.release_begun(turn.tenant_id, turn.id)
        if settlement is Settlement.CHAT_GONE and outcome.usage is not None:
            # Its row is gone, and with it what the ledger is compared with: the call has one of its own from here on.
            call = call_of(turn)
            await tx.calls.declare(call)
            await tx.calls.settle(call.id, outcome.usage)
        else:
            announce_usage(tx, turn, outcome.usage)
        tx.outbox.add(
            entry(
                turn.caller,
                _act_of(turn),
                turn.id,
                object_type="turn",
                result="failed" if outcome.state is TurnState.FAILED else "done",
            )
        )
        if outcome.state is not TurnState.FAILED and settlement is Settlement.DONE:
            tx.outbox.add(
                ChatMessageCompleted(
                    tenant_id=turn.tenant_id,
                    chat_id=turn.chat_id,
                    message_id=turn.message_id,
                    turn_id=turn.id,
                    user_id=turn.caller.subject_id,
                    model=turn.model,
                    finish_reason=outcome.finish_reason,
                    citations=len(outcome.citations),
                    chatbot_id=turn.chatbot_id,
                    chatbot_version=turn.chatbot_version,
                )
            )
    return settlement, shown


async def settle_or_reduce(
    transactions: Transactions[TurnsTx], turn: Turn, outcome: Outcome, owner: str
) -> tuple[Settlement, Outcome]:
    """As `settle`; of an answer that cannot be stored as it is, the tokens are booked and the rest is left out."""
    outcome = _for_its_key(turn, outcome)
    try:
        return await settle(transactions, turn, outcome, owner)
    except DocuChatError:
        raise  # nothing is wrong with the answer: it can be settled later
    except Exception:
        logger.exception("turn.not_stored", turn_id=str(turn.id))
    error = AnswerNotStored()
    reduced = replace(
        outcome,
        state=TurnState.INTERRUPTED if outcome.usage else TurnState.FAILED,
        text="",
        frame_lengths=(),
        finish_reason="error",
        citations=(),
        not_cited=(),
        own_knowledge=(),
        error_code=error.code,
        error_message=error.detail,
        retry_after_seconds=None,
        text_tokens=0,
    )
    reduced = _for_its_key(turn, reduced)
    return await settle(transactions, turn, reduced, owner)


def _for_its_key(turn: Turn, outcome: Outcome) -> Outcome:
    """Return how a turn ended, as is told to those who asked with a key: an interrupted one keeps it."""
    if not turn.has_key or outcome.state is not TurnState.INTERRUPTED:
        return outcome
    return replace(outcome, error_message=asking_for_new_key(outcome.error_message), retry_after_seconds=None)


async def without_what_is_gone(tx: TurnsTx, turn: Turn, outcome: Outcome) -> tuple[Outcome, Outcome]:
    """Return what is to be kept, without words of documents that were deleted while the answer was written.

    The second is what is to be shown: without words of those either that its asker may not see any more. What is
    deleted after this look finds the answer stored: emptying waits for this transaction to end.
    """
    if not outcome.citations:
        return outcome, outcome
    await tx.chats.keep_quotes(turn.tenant_id)
    hidden = await tx.search.hidden(turn.tenant_id, documents_of(outcome.citations))
    deleted = await tx.search.deleted(hidden) if hidden else []
    kept, shown = (without_words(outcome.citations, gone) for gone in (deleted, hidden))
    return replace(outcome, citations=kept), replace(outcome, citations=shown)


def announce_usage(tx: TurnsTx, turn: Turn, used: Used | None) -> None:
    """Publish what a turn cost; its row is its provider call, and the event's id derives from the turn's."""
    if used is None:
        return
    for event in usage_events(call_of(turn), used):
        tx.outbox.add(event)


def call_of(turn: Turn) -> ProviderCall:
    """Return the call of a provider that a turn's row stands for."""
    return ProviderCall(
        id=turn.id,
        tenant_id=turn.tenant_id,
        kind="chat",
        provider=turn.provider,
        model=turn.provider_model,
        expected_input_tokens=turn.prompt_tokens,
        owner=turn.owner,
        subjects=payers(turn.caller, turn.chatbot_id),
        hold_id=turn.hold_id,
        chat_id=turn.chat_id,
        turn_id=turn.id,
    )


async def close_holds(holds: Holds, turn: Turn, used: Used | None, *, counts_message: bool = False) -> None:
    """Close what booking does not: all holds of a turn that is not booked, else the one that has its message alone.

    `counts_message`: the message counts although nothing is booked of its answer.
    """
    message = turn.message_hold_id or turn.hold_id
    for hold_id in turn.hold_ids:
        if used is not None and hold_id == turn.hold_id:
            continue  # the ledger settles it
        is_counted = used is not None or (counts_message and hold_id == message)
        await (holds.settle if is_counted else holds.release)(hold_id)


def _act_of(turn: Turn) -> str:
    """Return under which name asking is in the audit log: its request's, which this process may not know any more."""
    act = current_act()
    if act is not None:
        return act.name
    return "chat.ask" if turn.chatbot_id is None else "chatbot.ask"


def _seconds(wait: timedelta | None) -> int | None:
    return None if wait is None else max(1, round(wait.total_seconds()))
