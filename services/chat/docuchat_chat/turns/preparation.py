"""Asking: from a question to a running turn, without a token spent that is not held, and to what others see of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import structlog

from docuchat_chat.answers.domain import Asker, Library, Passage, PastMessage, Prompt
from docuchat_chat.answers.errors import MessageEmpty
from docuchat_chat.answers.notices import notice
from docuchat_chat.answers.ports import CounterFor, QuestionEmbedder, QuestionVector, Transactions
from docuchat_chat.answers.prompt import TOKENS_PER_MESSAGE, build_prompt, fixed_tokens
from docuchat_chat.answers.service import embedding_usage
from docuchat_chat.conversations.domain import Chat, title_of
from docuchat_chat.conversations.errors import ChatNotFound, MessageTooLong
from docuchat_chat.conversations.ports import OpenedChat
from docuchat_chat.metrics import PREPARATION_SECONDS
from docuchat_chat.turns.answering import Answering, LiveAnswering
from docuchat_chat.turns.domain import Hold, NewTurn, Outcome, Question, Turn, TurnState
from docuchat_chat.turns.errors import IdempotencyKeyReused, ModelNotAllowed, RequestInProgress, ShuttingDown, TooBusy
from docuchat_chat.turns.frames import opening_frame, terminal_frame
from docuchat_chat.turns.generation import Generator, settle
from docuchat_chat.turns.live import LiveTurn, Registry, TurnLog
from docuchat_chat.turns.policy import Policy
from docuchat_chat.turns.ports import Holds, TurnsTx
from docuchat_chat.turns.replay import StoredTurn
from docuchat_common.errors import DocuChatError
from docuchat_common.ids import ChatId, CollectionId, DocumentId, MessageId, TurnId, uuid7

logger = structlog.get_logger()

NO_SOURCES = "no_sources"


@dataclass(frozen=True, slots=True)
class AskRequest:
    """A question as it came in."""

    message: str
    session_id: str | None = None
    chat_id: ChatId | None = None
    model: str | None = None
    document_ids: tuple[DocumentId, ...] | None = None
    collection_id: CollectionId | None = None

    def fingerprint(self) -> str:
        """Return a hash by which two equal requests are told from others."""
        return hashlib.sha256(
            orjson.dumps(
                [self.message, self.session_id, self.chat_id, self.model, self.document_ids, self.collection_id]
            )
        ).hexdigest()


class AskService:
    """Takes questions."""

    def __init__(
        self,
        *,
        transactions: Transactions[TurnsTx],
        holds: Holds,
        embedder: QuestionEmbedder,
        generator: Generator,
        registry: Registry,
        counter_for: CounterFor,
        policy: Policy,
        owner: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._transactions = transactions
        self._holds = holds
        self._embedder = embedder
        self._generator = generator
        self._registry = registry
        self._counter_for = counter_for
        self._policy = policy
        self._owner = owner
        self._clock = clock
        self._preparing = asyncio.Semaphore(policy.max_preparing)

    async def ask(
        self, asker: Asker, request: AskRequest, *, key: str | None = None, attach: bool = False
    ) -> Answering:
        """Begin to answer a question, or return the turn that the idempotency key already stands for.

        `attach` allows to listen to such a turn while it runs; without it that is RequestInProgress.
        """
        began = asyncio.get_running_loop().time()
        question = self._check(request)
        turn_id = TurnId(uuid7())
        try:
            async with asyncio.timeout(self._policy.preparation_patience.total_seconds()):
                await self._preparing.acquire()
        except TimeoutError as error:
            raise TooBusy(retry_after=timedelta(seconds=5)) from error
        try:
            return await self._prepare(asker, question, turn_id, request, key, attach=attach)
        finally:
            self._preparing.release()
            PREPARATION_SECONDS.observe(asyncio.get_running_loop().time() - began)

    async def _prepare(
        self, asker: Asker, question: Question, turn_id: TurnId, request: AskRequest, key: str | None, *, attach: bool
    ) -> Answering:
        if key is not None:
            earlier = await self._claim(asker, key, request.fingerprint(), turn_id, attach=attach)
            if earlier is not None:
                return earlier
        try:
            # Shielded: a client that hangs up now must leave neither a hold nor half a turn behind.
            live = await asyncio.shield(asyncio.create_task(self._begin(asker, question, turn_id)))
        except DocuChatError:
            if key is not None:
                async with self._transactions(asker.tenant_id) as tx:
                    await tx.turns.release_key(asker, turn_id)
            raise
        return LiveAnswering(live, self._clock)

    def _check(self, request: AskRequest) -> Question:
        policy = self._policy
        if self._registry.closing or len(self._registry.turns) >= policy.max_running_turns:
            raise (ShuttingDown if self._registry.closing else TooBusy)(retry_after=timedelta(seconds=2))
        if len(request.message) > policy.max_message_chars:
            raise MessageTooLong(
                f"The message has {len(request.message)} characters; {policy.max_message_chars} are allowed.",
                limit=policy.max_message_chars,
            )
        text = request.message.replace("\x00", "").strip()
        if not text:
            raise MessageEmpty
        model = request.model or policy.default_model
        if model not in policy.allowed_models:
            raise ModelNotAllowed(
                f"This model is not allowed; allowed are {', '.join(policy.allowed_models)}.",
                allowed_models=list(policy.allowed_models),
            )
        tokens = self._counter_for(model).count(text)
        if fixed_tokens(text, self._counter_for(model)) > policy.max_context_tokens:
            raise MessageTooLong(
                f"The message has {tokens} tokens and leaves no room for sources within {policy.max_context_tokens}.",
                limit=policy.max_context_tokens,
            )
        return Question(
            text=text,
            model=model,
            tokens=tokens,
            session_id=request.session_id.replace("\x00", "") if request.session_id else None,
            chat_id=request.chat_id,
            document_ids=request.document_ids,
            collection_id=request.collection_id,
        )

    async def _claim(
        self, asker: Asker, key: str, fingerprint: str, turn_id: TurnId, *, attach: bool
    ) -> Answering | None:
        async with self._transactions(asker.tenant_id) as tx:
            holder = await tx.turns.claim_key(asker, key, fingerprint, turn_id)
            if holder is None:
                return None
            if holder.request_hash != fingerprint:
                raise IdempotencyKeyReused
            live = self._registry.find(asker, holder.turn_id)
            if live is not None:
                if not live.finished.is_set() and not attach:
                    raise RequestInProgress(turn_id=str(holder.turn_id))
                return LiveAnswering(live, self._clock)
            turn = await tx.turns.find(asker.tenant_id, holder.turn_id, asker.user_id)
            if turn is None:
                if holder.age < self._policy.claim_patience:
                    raise RequestInProgress
                # Its process died before the turn was written down: the key is free again.
                await tx.turns.release_key(asker, holder.turn_id)
                if await tx.turns.claim_key(asker, key, fingerprint, turn_id) is not None:
                    raise RequestInProgress  # another repeat was quicker
                return None
            if turn.state is TurnState.RUNNING:
                raise RequestInProgress(turn_id=str(turn.id))
            message = await tx.chats.find_message(asker, turn.message_id)
        if message is None:
            raise RequestInProgress
        return StoredTurn(turn, message)

    async def _begin(self, asker: Asker, question: Question, turn_id: TurnId) -> LiveTurn:
        counter = self._counter_for(question.model)
        budget = self._budget(question)
        hold_task = asyncio.create_task(self._holds.open(asker, question.model, budget, self._policy.max_output_tokens))
        chat_task = asyncio.create_task(self._chat_and_history(asker, question))
        # What costs nobody anything need not wait for the budget.
        early = None if self._embedder.billable else asyncio.create_task(self._find(asker, question))
        hold, chat = await _both(hold_task, chat_task)
        failure = next((r for r in (hold, chat) if isinstance(r, BaseException)), None)
        if failure is not None:
            if early is not None:
                early.cancel()
                await asyncio.gather(early, return_exceptions=True)
            if isinstance(hold, Hold):
                await self._holds.release(hold.id)
            raise failure
        assert isinstance(hold, Hold)  # anything else was a failure
        known, history = chat
        try:
            # Only now: a question without budget, or for a chat that is not there, costs no call of the provider.
            vector, passages = await (self._find(asker, question) if early is None else early)
            live, library = await self._write_down(
                asker, question, turn_id, hold, vector, passages, known, history, min(budget, hold.tokens), counter.name
            )
        except BaseException:
            await self._holds.release(hold.id)
            raise
        if library is None:
            self._generator.start(live)
        else:
            await asyncio.gather(self._holds.release(hold.id), self._say_nothing_found(live, library))
        return live

    async def _find(self, asker: Asker, question: Question) -> tuple[QuestionVector | None, Sequence[Passage]]:
        """Embed the question and search, in a transaction of its own."""
        vector = await self._embed(question)
        async with self._transactions(asker.tenant_id) as tx:
            return vector, await tx.search.search(
                asker.tenant_id,
                question.text,
                vector,
                self._policy.top_k,
                question.document_ids,
                question.collection_id,
            )

    async def _write_down(
        self,
        asker: Asker,
        question: Question,
        turn_id: TurnId,
        hold: Hold,
        vector: QuestionVector | None,
        passages: Sequence[Passage],
        known: Chat | None,
        history: Sequence[PastMessage],
        budget: int,
        tokenizer: str,
    ) -> tuple[LiveTurn, Library | None]:
        """Build the prompt and write the turn. A library comes back when nothing was found."""
        prompt = build_prompt(question.text, passages, history, budget, self._counter_for(question.model))
        async with self._transactions(asker.tenant_id) as tx:
            library = None
            if not prompt.sources:
                library = await tx.search.library(asker.tenant_id, question.document_ids, question.collection_id)
                prompt = Prompt((), (), 0)
            opened: OpenedChat = await tx.chats.open(
                asker,
                known.id if known is not None else ChatId(uuid7()),
                question.session_id if known is None else None,
                title_of(question.text),
            )
            new = NewTurn(
                id=turn_id,
                chat_id=opened.id,
                user_message_id=MessageId(uuid7()),
                message_id=MessageId(uuid7()),
                model=question.model,
                provider=self._generator.provider,
                hold_id=hold.id if library is None else None,
                prompt_tokens=prompt.tokens,
                owner=self._owner,
            )
            await tx.turns.begin(asker, new, opened, question.text, question.tokens, tokenizer, prompt.sources)
            if vector is not None and vector.billable:
                tx.outbox.add(embedding_usage(asker, vector, opened.id, turn_id))
        turn = Turn(
            id=new.id,
            tenant_id=asker.tenant_id,
            user_id=asker.user_id,
            chat_id=opened.id,
            session_id=opened.session_id,
            user_message_id=new.user_message_id,
            message_id=new.message_id,
            model=new.model,
            provider=new.provider,
            hold_id=new.hold_id,
            prompt_tokens=new.prompt_tokens,
            owner=self._owner,
            state=TurnState.RUNNING,
            sources=prompt.sources,
            usage=None,
            finish_reason=None,
            frame_lengths=(),
            error_code=None,
            error_message=None,
            created_at=self._clock(),
            finished_at=None,
        )
        return LiveTurn(asker, question, turn, prompt, TurnLog(asker.tenant_id, turn_id, opening_frame(turn))), library

    async def _say_nothing_found(self, live: LiveTurn, library: Library) -> None:
        text = notice(live.question.text, library)
        outcome = Outcome(
            state=TurnState.COMPLETED,
            text=text,
            frame_lengths=(len(text),),
            finish_reason=NO_SOURCES,
            usage=None,
        )
        self._registry.turns[live.turn.id] = live
        try:
            await settle(self._transactions, live.turn, outcome, self._owner, self._clock())
            live.outcome = outcome
            live.log.append(text)
            live.log.close(terminal_frame(2, live.turn, outcome))
        finally:
            live.finished.set()
            asyncio.get_running_loop().call_later(
                self._policy.linger.total_seconds(), self._registry.turns.pop, live.turn.id, None
            )
        logger.info("turn.no_sources", turn_id=str(live.turn.id), ready=library.ready, processing=library.processing)

    def _budget(self, question: Question) -> int:
        """Return the most input tokens that this question may cost: held for it, and the prompt is kept to it."""
        policy = self._policy
        history = policy.max_history_tokens if question.chat_id is not None or question.session_id is not None else 0
        fixed = fixed_tokens(question.text, self._counter_for(question.model))
        return min(
            policy.max_context_tokens, fixed + policy.top_k * policy.source_tokens + history + TOKENS_PER_MESSAGE
        )

    async def _embed(self, question: Question) -> QuestionVector | None:
        try:
            return await self._embedder.embed(question.text)
        except DocuChatError as error:
            # Words alone still find; an answer is better than none.
            logger.warning("question.not_embedded", reason=error.code)
            return None

    async def _chat_and_history(self, asker: Asker, question: Question) -> tuple[Chat | None, list[PastMessage]]:
        if question.chat_id is None and question.session_id is None:
            return None, []
        async with self._transactions(asker.tenant_id) as tx:
            chat = await tx.chats.find(
                asker,
                chat_id=question.chat_id or _as_chat_id(question.session_id),
                session_key=question.session_id if question.chat_id is None else None,
            )
            if chat is None:
                if question.chat_id is not None:
                    raise ChatNotFound
                return None, []
            return chat, await tx.chats.history(asker, chat.id, self._policy.max_history_messages)


async def _both(hold: asyncio.Task[Hold], chat: asyncio.Task[tuple[Chat | None, list[PastMessage]]]) -> tuple[Any, Any]:
    """Wait for both; errors come back as values, so that what did succeed can be given back."""
    results = await asyncio.gather(hold, chat, return_exceptions=True)
    return results[0], results[1]


def _as_chat_id(session_id: str | None) -> ChatId | None:
    try:
        return ChatId(UUID(session_id)) if session_id is not None else None
    except ValueError:
        return None
