"""Generation: the provider's stream into frames, the frames' end into the books, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import structlog

from docuchat_chat.answers.citations import check_citations
from docuchat_chat.answers.domain import Asker
from docuchat_chat.answers.ports import AnswerModel, AnswerRequest, CounterFor, Transactions
from docuchat_chat.answers.prompt import count_prompt
from docuchat_chat.metrics import FIRST_TOKEN_SECONDS, OPEN_TURNS, TURNS
from docuchat_chat.turns.domain import Outcome, Turn, TurnState
from docuchat_chat.turns.errors import StorageUnavailable
from docuchat_chat.turns.frames import STOPPED, terminal_frame
from docuchat_chat.turns.live import LiveTurn, Registry
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Holds, TurnBoard, TurnsTx
from docuchat_common.errors import DocuChatError, UpstreamUnavailable
from docuchat_common.events.catalogue import ChatMessageCompleted, UsageRecorded
from docuchat_models.chat import Piece, TokenUsage
from docuchat_models.errors import ProviderFailed, ProviderInterrupted, ProviderRateLimited, ProviderTimeout

logger = structlog.get_logger()

CHARS_PER_TOKEN_AT_MOST = 32


class Generator:
    """Runs live turns to their end, whoever listens."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        model: AnswerModel,
        holds: Holds,
        board: TurnBoard,
        counter_for: CounterFor,
        registry: Registry,
        policy: Policy,
        owner: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transactions = transactions
        self._model = model
        self._holds = holds
        self._board = board
        self._counter_for = counter_for
        self._registry = registry
        self._policy = policy
        self._owner = owner
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def provider(self) -> str:
        """The provider's name in the books."""
        return self._model.provider

    def start(self, live: LiveTurn) -> None:
        """Begin to answer, apart from the caller's task."""
        self._registry.turns[live.turn.id] = live
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
        for live in self._registry.running():
            live.interrupt()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5)
        for task in self._tasks:
            task.cancel()

    async def _run(self, live: LiveTurn) -> None:
        generation = live.generation
        assert generation is not None  # set by `start`
        background = asyncio.create_task(self._keep_hold(live))
        OPEN_TURNS.inc()
        self._board.publish(live.log)
        try:
            try:
                outcome = await self._await_outcome(live, generation)
            finally:
                background.cancel()
            await self._settle(live, outcome)
        except Exception as error:
            logger.exception("turn.failed", turn_id=str(live.turn.id))
            self._close_unsettled(live, error)
        finally:
            OPEN_TURNS.dec()
            live.finished.set()
            asyncio.get_running_loop().call_later(
                self._policy.linger.total_seconds(), self._registry.turns.pop, live.turn.id, None
            )

    async def _await_outcome(self, live: LiveTurn, generation: asyncio.Task[object]) -> Outcome:
        await asyncio.wait({generation})
        pieces = live.log.texts
        text = "".join(pieces)
        last = None if generation.cancelled() else generation.exception()
        if generation.cancelled() or last is not None:
            state, reason, error = self._why(live, last)
            usage = await self._estimate(live, text) if live.log.accepted else None
            if state is TurnState.INTERRUPTED and not live.log.accepted:
                state = TurnState.FAILED
            citations, not_cited = check_citations(text, live.prompt.sources)
            return Outcome(
                state=state,
                text=text,
                frame_lengths=tuple(map(len, pieces)),
                finish_reason=reason,
                usage=usage,
                citations=citations,
                not_cited=not_cited,
                error_code=error.code if error else None,
                error_message=error.detail if error else None,
                retry_after_seconds=_seconds(error.retry_after) if error else None,
                text_tokens=usage.output_tokens if usage else None,
                tokenizer=self._counter_for(live.turn.model).name,
            )
        ending = generation.result()
        assert isinstance(ending, Piece)
        usage = ending.usage or await self._estimate(live, text)
        citations, not_cited = check_citations(text, live.prompt.sources)
        return Outcome(
            state=TurnState.COMPLETED,
            text=text,
            frame_lengths=tuple(map(len, pieces)),
            finish_reason=ending.finish_reason or "stop",
            usage=usage,
            citations=citations,
            not_cited=not_cited,
            text_tokens=usage.output_tokens if usage.estimated else None,
            tokenizer=self._counter_for(live.turn.model).name,
        )

    def _why(self, live: LiveTurn, last: BaseException | None) -> tuple[TurnState, str, DocuChatError | None]:
        if last is None:
            if live.stop_requested:
                return TurnState.STOPPED, STOPPED, None
            return (
                TurnState.INTERRUPTED,
                "error",
                ProviderInterrupted("The service was restarted in the middle of the answer; what came is kept."),
            )
        error: DocuChatError
        if isinstance(last, TimeoutError):
            error = ProviderTimeout()
        elif isinstance(last, DocuChatError):
            error = last
        else:
            logger.error("turn.generation_failed", turn_id=str(live.turn.id), exc_info=last)
            error = ProviderFailed()
        live.failure = error
        return TurnState.INTERRUPTED, "error", error

    async def _generate(self, live: LiveTurn) -> Piece:
        """Call the provider, again while it took nothing and may later; the text goes into the log as it comes."""
        policy = self._policy
        request = AnswerRequest(
            model=live.turn.model,
            messages=live.prompt.messages,
            sources=live.prompt.sources,
            question=live.question.text,
            max_output_tokens=policy.max_output_tokens,
            tenant_id=live.turn.tenant_id,
        )
        attempt = 1
        while True:
            try:
                return await self._stream(live, request)
            except (ProviderRateLimited, ProviderFailed) as error:
                pause = error.retry_after or timedelta(seconds=0.1 * 2**attempt)
                if live.log.accepted or attempt >= policy.provider_attempts or pause > policy.longest_provider_wait:
                    raise
                logger.info("provider.retrying", turn_id=str(live.turn.id), reason=error.code, attempt=attempt)
                attempt += 1
                await asyncio.sleep(pause.total_seconds())

    async def _stream(self, live: LiveTurn, request: AnswerRequest) -> Piece:
        log, policy = live.log, self._policy
        loop = asyncio.get_running_loop()
        began = loop.time()
        ends_at = began + policy.turn_timeout.total_seconds()
        between = policy.between_tokens_timeout.total_seconds()
        longest = policy.max_output_tokens * CHARS_PER_TOKEN_AT_MOST
        ending = Piece()
        async with aclosing(self._model.answer(request)) as pieces:
            async with asyncio.timeout_at(began + policy.first_token_timeout.total_seconds()) as deadline:
                async for piece in pieces:
                    if piece.text:
                        if not log.texts:
                            FIRST_TOKEN_SECONDS.observe(loop.time() - began)
                        log.append(piece.text)
                        self._board.publish(log)
                        deadline.reschedule(min(loop.time() + between, ends_at))
                        if log.length > longest:
                            ending.finish_reason = "length"
                            return ending
                    elif not log.accepted:
                        log.accepted = True
                        self._board.publish(log)
                    if piece.finish_reason is not None:
                        ending.finish_reason = piece.finish_reason
                    if piece.usage is not None:
                        ending.usage = piece.usage
        return ending

    async def _estimate(self, live: LiveTurn, text: str) -> TokenUsage:
        counter = self._counter_for(live.turn.model)
        # Texts can be long and the tokenizer works outside the interpreter lock.
        return await asyncio.to_thread(
            lambda: TokenUsage(count_prompt(live.prompt.messages, counter), counter.count(text), estimated=True)
        )

    async def _keep_hold(self, live: LiveTurn) -> None:
        hold_id = live.turn.hold_id
        if hold_id is None:
            return
        # Most answers end before it is worth a call: settling frees the rest just as well.
        await asyncio.sleep(self._policy.hold_shrink.total_seconds())
        await self._holds.renew(hold_id, live.prompt.tokens + self._policy.max_output_tokens)
        while True:
            await asyncio.sleep(self._policy.hold_renewal.total_seconds())
            await self._holds.renew(hold_id)

    async def _settle(self, live: LiveTurn, outcome: Outcome) -> None:
        turn = live.turn
        patience = asyncio.get_running_loop().time() + self._policy.storage_patience.total_seconds()
        pause = 0.1
        while True:
            try:
                ours = await settle(self._transactions, turn, outcome, self._owner, self._clock())
                break
            except UpstreamUnavailable as error:
                if asyncio.get_running_loop().time() + pause > patience:
                    # The sweep settles it from what the board holds, when the database is back.
                    self._close_unsettled(live, error)
                    return
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
        if not ours:
            async with self._transactions(turn.tenant_id) as tx:
                stored = await tx.turns.find(turn.tenant_id, turn.id, None)
            # An unanswered commit of ours looks the same as another's: the owner tells.
            ours = stored is not None and stored.owner == self._owner
        if not ours:
            logger.warning("turn.settled_elsewhere", turn_id=str(turn.id))
            self._close_unsettled(live, ProviderInterrupted())
            return
        if outcome.usage is None and turn.hold_id is not None:
            await self._holds.release(turn.hold_id)
        live.outcome = outcome
        live.log.close(terminal_frame(len(live.log.frames), turn, outcome))
        self._board.publish(live.log)
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

    def _close_unsettled(self, live: LiveTurn, error: Exception) -> None:
        failure = error if isinstance(error, DocuChatError) else StorageUnavailable()
        live.failure = live.failure or failure
        if not live.log.closed:
            outcome = Outcome(
                TurnState.INTERRUPTED, "", (), "error", None, error_code=failure.code, error_message=failure.detail
            )
            live.log.close(terminal_frame(len(live.log.frames), live.turn, outcome))
            # Not published: other processes follow what the sweep writes.


async def settle(transactions: Transactions[TurnsTx], turn: Turn, outcome: Outcome, owner: str, now: datetime) -> bool:
    """Store the answer and book the tokens in one transaction; False when the turn was settled before."""
    async with transactions(turn.tenant_id) as tx:
        if not await tx.turns.finish(turn.tenant_id, turn.id, outcome, owner, now):
            return False
        if outcome.state is TurnState.FAILED:
            # Nothing happened, so the same key may try again.
            await tx.turns.release_key(asker_of(turn), turn.id)
        _announce(tx, turn, outcome)
    return True


def _announce(tx: TurnsTx, turn: Turn, outcome: Outcome) -> None:
    if outcome.usage is not None:
        tx.outbox.add(
            UsageRecorded(
                tenant_id=turn.tenant_id,
                kind="chat",
                provider=turn.provider,
                model=turn.model,
                input_tokens=outcome.usage.input_tokens,
                output_tokens=outcome.usage.output_tokens,
                estimated=outcome.usage.estimated,
                user_id=turn.user_id,
                chat_id=turn.chat_id,
                turn_id=turn.id,
                hold_id=turn.hold_id,
            )
        )
    if outcome.state is not TurnState.FAILED:
        tx.outbox.add(
            ChatMessageCompleted(
                tenant_id=turn.tenant_id,
                chat_id=turn.chat_id,
                message_id=turn.message_id,
                turn_id=turn.id,
                user_id=turn.user_id,
                model=turn.model,
                finish_reason=outcome.finish_reason,
                citations=len(outcome.citations),
            )
        )


def asker_of(turn: Turn) -> Asker:
    """Return whose turn it is."""
    return Asker(turn.tenant_id, turn.user_id)


def _seconds(wait: timedelta | None) -> int | None:
    return None if wait is None else max(1, round(wait.total_seconds()))
