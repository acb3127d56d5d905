"""Generation: the provider's stream into frames, the frames' end into the books, once."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from docuchat_chat.answers.notices import nothing_found
from docuchat_chat.answers.ports import AnswerRequest, CounterFor, EmbeddingHolds
from docuchat_chat.answers.prompt import CountsTokens
from docuchat_chat.answers.release import Release
from docuchat_chat.answers.text import unmarked
from docuchat_chat.metrics import FIRST_TOKEN_SECONDS, TURNS
from docuchat_chat.titles.service import FirstAnswer, Titles
from docuchat_chat.turns.domain import Outcome, Reason, Settlement, TurnState
from docuchat_chat.turns.errors import AnswerEmpty, AnswerInterrupted, AnswerNotStored, StorageUnavailable
from docuchat_chat.turns.fallbacks import Fallbacks, outage_of
from docuchat_chat.turns.frames import terminal_frame
from docuchat_chat.turns.live import LiveTurn, Registry
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Holds, Spool, TurnBoard, TurnsTx
from docuchat_chat.turns.settling import close_holds, conclude, settle_or_reduce
from docuchat_common.background import cancel
from docuchat_common.clock import Clock
from docuchat_common.contracts.frames import FinishReason
from docuchat_common.db.uow import Transactions
from docuchat_common.errors import DocuChatError, TenantGone
from docuchat_common.metering import TokenBounds, Used, bounded, used_of
from docuchat_models.chat import Piece, TokenUsage
from docuchat_models.errors import ProviderFailed, ProviderRateLimited, ProviderRefused, ProviderTimeout, billed

logger = structlog.get_logger()

_LONG = 4_000
"""Characters from which a text is counted in a thread."""
_NO_ROOM = "There is no room to store answers; the operator should look at the disk of SPOOL_DIR. What came is kept."


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a stream ended by itself."""

    finish_reason: FinishReason
    usage: TokenUsage | None


class Generator:
    """Runs live turns to their end, whoever listens."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        holds: Holds,
        board: TurnBoard,
        spool: Spool,
        counter_for: CounterFor,
        registry: Registry,
        policy: Policy,
        owner: str,
        clock: Clock,
        second_holds: EmbeddingHolds,
        titles: Titles | None = None,
    ) -> None:
        """`titles`: who gives a chat its title after its first answer. `second_holds` count no messages."""
        self._transactions = transactions
        self._holds = holds
        self._board = board
        self._spool = spool
        self._counter_for = counter_for
        self._registry = registry
        self._policy = policy
        self._owner = owner
        self._clock = clock
        self._fallbacks = Fallbacks(
            transactions=transactions,
            holds=holds,
            second_holds=second_holds,
            counter_for=counter_for,
            policy=policy,
            owner=owner,
        )
        self._titles = titles
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, live: LiveTurn) -> None:
        """Begin to answer, apart from the caller's task."""
        self._registry.begin(live)
        # The request may be dropped, the answer goes on: hence a task of its own.
        live.generation = asyncio.create_task(self._generate(live))
        task = asyncio.create_task(self._run(live))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self) -> None:
        """Let running answers end, up to the bound; interrupt, keep and book what is left."""
        self._registry.closing = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._policy.drain.total_seconds())
        for live in list(self._registry.turns.values()):
            live.interrupt()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        await asyncio.gather(*map(cancel, self._tasks))

    async def _run(self, live: LiveTurn) -> None:
        generation = live.generation
        assert generation is not None  # set by `start`
        background = asyncio.create_task(self._keep_hold(live))
        self._board.publish(live.log)
        try:
            try:
                await asyncio.wait({generation})
                outcome = await self._conclude(live, generation)
            finally:
                background.cancel()
            await self._settle(live, outcome)
        except Exception:
            logger.exception("turn.failed", turn_id=str(live.turn.id))
            self._close_unsettled(live, StorageUnavailable())
        finally:
            live.finished.set()
            self._registry.end(live.turn.id)  # if it is not settled, the sweep does it, from the spool

    async def _conclude(self, live: LiveTurn, generation: asyncio.Task[object]) -> Outcome:
        counter = self._counter_for(live.turn.provider_model)
        text = "".join(live.log.texts)
        written = "" if live.kept_back else unmarked(text)  # what was said instead is not the model's
        counted, unseen = [await _count(counter, part) for part in (text, "".join((*live.thoughts, *live.kept_back)))]
        sent = counted if written == text else await _count(counter, written)
        failure = None if generation.cancelled() else generation.exception()
        reported: TokenUsage | None = None
        error: DocuChatError | None = None
        reason: Reason
        if failure is None and not generation.cancelled():
            ending = generation.result()
            assert isinstance(ending, _Ending)
            state, reason, reported = TurnState.COMPLETED, ending.finish_reason, ending.usage
            if not text.strip():
                state, reason, error = TurnState.INTERRUPTED, "error", AnswerEmpty()
        elif failure is None and live.stop_requested:
            state, reason = TurnState.STOPPED, "stopped"
        else:
            error = AnswerInterrupted() if failure is None else _error_of(live, failure)
            state, reason = TurnState.INTERRUPTED if live.log.sent else TurnState.FAILED, "error"
        return conclude(
            state=state,
            finish_reason=reason,
            text=text,
            frame_lengths=tuple(map(len, live.log.texts)),
            sources=live.prompt.sources,
            usage=self._usage(live, sent + unseen, reported) if live.log.sent else None,
            text_tokens=counted,
            tokenizer=counter.name,
            error=error,
            now=self._clock.now(),
        )

    def _usage(self, live: LiveTurn, counted: int, reported: TokenUsage | None) -> Used:
        """Return what to book: the provider's figures as far as they can be true."""
        most = self._policy.longest_answer(live.setup)
        bounds = TokenBounds()
        return used_of(
            bounded(reported.input_tokens if reported else None, live.turn.prompt_tokens, bounds, "input_tokens"),
            bounded(reported.output_tokens if reported else None, counted, bounds, "output_tokens", allowed=most),
        )

    async def _generate(self, live: LiveTurn) -> _Ending:
        """Call the provider, and the one that stands by when it fails before anything came of it."""
        if live.turn.fallback is not None:
            self._spool.second(live.turn.id)
        while True:
            try:
                return await self._call(live)
            except (DocuChatError, TimeoutError) as error:
                reason = outage_of(error)
                if reason is None or live.has_begun:
                    raise
                if not await self._fallbacks.move_on(live, reason):
                    raise
                self._spool.second(live.turn.id)

    async def _call(self, live: LiveTurn) -> _Ending:
        """Call a provider, again while it took nothing and may later; the text goes into the log as it comes."""
        policy = self._policy
        request = AnswerRequest(
            model=live.served.model,
            setup=live.setup,
            messages=live.prompt.messages,
            sources=live.prompt.sources,
            question=live.turn.searched_as or live.question.text,
            max_output_tokens=policy.longest_answer(live.setup),
            tenant_id=live.turn.tenant_id,
            patience=self._patience(live),
        )
        attempt = 1
        while True:
            try:
                return await self._stream(live, request)
            except (ProviderRateLimited, ProviderFailed) as error:
                pause = error.retry_after or timedelta(seconds=0.1 * 2**attempt)
                if live.log.sent or attempt >= policy.provider_attempts or pause > policy.longest_provider_wait:
                    raise
                logger.info("provider.retrying", turn_id=str(live.turn.id), reason=error.code, attempt=attempt)
                attempt += 1
                await asyncio.sleep(pause.total_seconds())

    def _patience(self, live: LiveTurn) -> timedelta:
        """Return how long a provider may be silent before its first token: less where another model stands by."""
        policy = self._policy
        return policy.first_token_timeout if live.standby is None else policy.standby_timeout

    async def _stream(self, live: LiveTurn, request: AnswerRequest) -> _Ending:
        policy, turn_id, answers = self._policy, live.turn.id, live.served.answers
        loop = asyncio.get_running_loop()
        began = loop.time()
        ends_at = began + policy.turn_timeout.total_seconds()
        between = policy.between_tokens_timeout.total_seconds()
        release = Release(
            live.setup, live.prompt.sources, live.question.text, has_own_knowledge=answers.has_own_knowledge
        )
        finish_reason: FinishReason = "stop"
        usage, accepted = None, False
        silent_at: float | None = None
        self._spool.sent(turn_id)
        live.log.sent = True
        self._board.publish(live.log)
        try:
            async with aclosing(answers.answer(request)) as pieces:
                async with asyncio.timeout_at(began + self._patience(live).total_seconds()) as deadline:
                    async for piece in pieces:
                        accepted = True
                        if piece.text and not live.log.texts:
                            FIRST_TOKEN_SECONDS.observe(loop.time() - began)
                        self._take(live, release, piece)
                        if piece.text or piece.thoughts:
                            now = loop.time()
                            if silent_at is None or silent_at < now + between:
                                # A time-out is dear to move: it allows a tenth more, and stays for that long.
                                silent_at = min(now + 1.1 * between, ends_at)
                                deadline.reschedule(silent_at)
                        finish_reason = piece.finish_reason or finish_reason
                        usage = piece.usage or usage
                        if release.is_cut:
                            break
        except DocuChatError as error:
            if not accepted and billed(error, live.turn.prompt_tokens) is None:
                self._spool.refused(turn_id)
                live.log.sent = False
            raise
        finally:
            self._show(live, release.finish())
        if release.is_cut:
            finish_reason = "content_filter"
        if live.kept_back:
            finish_reason = "no_citations"
            self._show(live, nothing_found(live.setup, live.question.text), instead=True)
        return _Ending(finish_reason, usage)

    def _take(self, live: LiveTurn, release: Release, piece: Piece) -> None:
        """Show what is to be shown of a piece, and note the rest: it is billed all the same."""
        turn_id = live.turn.id
        if not live.has_begun and (piece.text or piece.thoughts):
            live.has_begun = True
        if piece.text:
            self._show(live, release.feed(piece.text))
            if release.is_shut:
                self._spool.keep_back(turn_id, piece.text)
                live.kept_back.append(piece.text)
            elif release.is_cut:
                self._spool.thought(turn_id, piece.text)
                live.thoughts.append(piece.text)
        if piece.thoughts:
            self._spool.thought(turn_id, piece.thoughts)
            live.thoughts.append(piece.thoughts)

    def _show(self, live: LiveTurn, text: str, *, instead: bool = False) -> None:
        """Show a text to all who listen; on disk first, so that what anybody saw is kept and booked.

        What was kept back until now is part of it, unless it is shown `instead`.
        """
        if text:
            if live.kept_back and not instead:
                self._spool.let_out(live.turn.id)
                live.kept_back.clear()
            self._spool.append(live.turn.id, text)
            live.log.append(text)
            self._board.publish(live.log)

    async def _keep_hold(self, live: LiveTurn) -> None:
        if live.turn.hold_id is None:
            return
        # Most answers end before it is worth a call: settling frees the rest just as well.
        await asyncio.sleep(self._policy.hold_shrink.total_seconds())
        most = self._policy.longest_answer(live.setup)
        await self._holds.renew(live.turn.hold_id, live.turn.prompt_tokens + most)
        while True:
            await asyncio.sleep(self._policy.hold_renewal.total_seconds())
            for hold_id in live.turn.hold_ids:
                await self._holds.renew(hold_id)

    async def _settle(self, live: LiveTurn, outcome: Outcome) -> None:
        settlement, outcome = await self._settle_at_last(live, outcome)
        turn = live.turn
        self._spool.settled(turn.id)
        if settlement is Settlement.DONE_BEFORE:
            async with self._transactions(turn.tenant_id) as tx:
                stored = await tx.turns.find(turn.tenant_id, turn.id, None)
            if stored is None:
                settlement = Settlement.CHAT_GONE  # with its tenant
            # An unanswered commit of ours looks the same as another's: the owner tells.
            elif stored.owner != self._owner:
                logger.warning("turn.settled_elsewhere", turn_id=str(turn.id))
                self._close_unsettled(live, AnswerInterrupted())
                return
        # What a provider embeds but does not answer is a message, too: it could be asked, and paid, without an end.
        is_refused = live.is_embedded and outcome.error_code == ProviderRefused.code
        await close_holds(self._holds, turn, outcome.usage, counts_message=is_refused)
        live.outcome = outcome
        if not live.log.closed:  # else its readers were told otherwise; from now on the store knows
            live.log.close(terminal_frame(len(outcome.frame_lengths) + 1, turn, outcome))
        if settlement is Settlement.CHAT_GONE or live.log.hidden:
            live.log.hidden = True
            await self._board.forget(turn.tenant_id, [turn.id])
        else:
            self._board.publish(live.log)
            if self._titles is not None and turn.wants_title and outcome.state is TurnState.COMPLETED:
                texts = live.question.text, outcome.text
                self._titles.begin(FirstAnswer(turn.caller, turn.chat_id, live.setup, live.served, *texts))
        TURNS.labels(outcome.state.value).inc()
        logger.info(
            "turn.finished",
            turn_id=str(turn.id),
            state=outcome.state.value,
            finish_reason=outcome.finish_reason,
            input_tokens=outcome.usage.input_tokens if outcome.usage else 0,
            output_tokens=outcome.usage.output_tokens if outcome.usage else 0,
            citations=len(outcome.citations),
            error=outcome.error_code,
        )

    async def _settle_at_last(self, live: LiveTurn, outcome: Outcome) -> tuple[Settlement, Outcome]:
        """Settle, for as long as this process lives: it alone knows the provider's figures. Nobody waits for long."""
        loop = asyncio.get_running_loop()
        told_at = loop.time() + self._policy.storage_patience.total_seconds()
        pause = 0.1
        while True:
            try:
                settlement, outcome = await settle_or_reduce(self._transactions, live.turn, outcome, self._owner)
                if settlement is Settlement.DONE_BEFORE and await self._fallbacks.has_moved_on(live):
                    outcome = replace(outcome, usage=None)  # the first call is booked, and the second was not made
                    continue
                return settlement, outcome
            except TenantGone:
                return Settlement.CHAT_GONE, outcome
            except Exception as error:
                if not isinstance(error, DocuChatError):
                    logger.exception("turn.unsettled", turn_id=str(live.turn.id))
                if loop.time() + pause > told_at or not isinstance(error, DocuChatError):
                    self._close_unsettled(live, StorageUnavailable())
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0 if live.failure is None else 30.0)

    def _close_unsettled(self, live: LiveTurn, error: DocuChatError) -> None:
        """End the stream of a turn that the database does not have as ended; its followers hear of the settling."""
        live.failure = live.failure or error
        live.finished.set()
        if not live.log.closed:
            outcome = Outcome(
                TurnState.INTERRUPTED,
                "",
                (),
                "error",
                None,
                self._clock.now(),
                error_code=error.code,
                error_message=error.detail,
            )
            live.log.close(terminal_frame(len(live.log.frames), live.turn, outcome))


async def _count(counter: CountsTokens, text: str) -> int:
    return counter.count(text) if len(text) < _LONG else await asyncio.to_thread(counter.count, text)


def _error_of(live: LiveTurn, failure: BaseException) -> DocuChatError:
    if isinstance(failure, TimeoutError):
        return ProviderTimeout()
    if isinstance(failure, DocuChatError):
        return failure
    if isinstance(failure, OSError):
        logger.error("turn.not_noted", turn_id=str(live.turn.id), reason=str(failure))
        return AnswerNotStored(_NO_ROOM)
    logger.error("turn.generation_failed", turn_id=str(live.turn.id), exc_info=failure)
    return ProviderFailed()
