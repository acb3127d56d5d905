"""What an operator can see and do, gathered from all services."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import structlog
from pydantic import ValidationError
from redis.asyncio import Redis

from docuchat_common.audit import entry
from docuchat_common.contracts.dead_letters import DeadLetterList, DiscardResult, ReplayRequest, ReplayResult
from docuchat_common.errors import DocuChatError, NotFound, UpstreamUnavailable
from docuchat_common.http.caller import Caller
from docuchat_common.http.client import ServiceClient
from docuchat_common.http.health import Check, ask_parts
from docuchat_common.http.identity import INTERNAL_HEADER
from docuchat_common.ids import TenantId
from docuchat_common.messaging.dead_letters import NoSuchQueue
from docuchat_common.redis import redis_errors_translated
from docuchat_gateway.operator.errors import ServiceUnknown
from docuchat_gateway.operator.ports import OpenSystemTransaction
from docuchat_gateway.operator.schemas import (
    DeadLetterOverview,
    DeadLettersReplayed,
    PartStatus,
    ProviderPause,
    ServiceDeadLetter,
    SystemStatus,
)
from docuchat_models.throttle import end_pauses, list_pauses

logger = structlog.get_logger()

T = TypeVar("T")
_BATCH: Final = 1000
_PATIENCE: Final = 2.5


class OperatorService:
    """Use cases of an operator. Nothing here is a tenant's."""

    def __init__(
        self,
        system_uow: OpenSystemTransaction,
        redis: Redis,
        services: Mapping[str, ServiceClient],
        checks: Mapping[str, Check],
        internal_token: str,
        *,
        recount: Callable[[], Awaitable[object]],
        with_dead_letters: frozenset[str],
    ) -> None:
        """`services` are all others by name; `checks` are its own parts; `recount` answers as HoldingsCorrected."""
        self._system_uow = system_uow
        self._redis = redis
        self._services = services
        self._checks = checks
        self._headers = {INTERNAL_HEADER: internal_token}
        self._with_dead_letters = with_dead_letters
        self._recount = recount

    async def look(self) -> SystemStatus:
        """How every part is, and what waits for somebody; what is away is said, within seconds."""
        (own, letters, outdated, pauses), others = await asyncio.gather(
            asyncio.gather(
                ask_parts(self._checks),
                self.list_dead_letters(),
                _unless_away(self._count_outdated()),
                _unless_away(self.list_pauses()),
            ),
            asyncio.gather(*map(self._health, self._services.values())),
        )
        gateway = PartStatus(name="gateway", ready=all(state == "ok" for state in own.values()), checks=own)
        return SystemStatus(
            parts=[gateway, *others],
            dead_letters=None if letters.unanswered else sum(letter.count for letter in letters.items),
            unanswered=[self._services[service].name for service in letters.unanswered],
            outdated_documents=outdated,
            pauses=None if pauses is None else len(pauses),
        )

    async def list_dead_letters(self) -> DeadLetterOverview:
        """What all services gave up."""

        async def ask(client: ServiceClient) -> DeadLetterList:
            return DeadLetterList.model_validate(await self._call(client, "GET", "/internal/dead-letters"))

        found, unanswered = await self._fan_out(self._with_dead_letters, ask)
        items = [
            ServiceDeadLetter(service=name, **letter.model_dump())
            for name, one in found.items()
            for letter in one.items
        ]
        return DeadLetterOverview(items=items, unanswered=unanswered)

    async def replay_dead_letters(
        self, operator: Caller, service: str | None, queue: str | None
    ) -> DeadLettersReplayed:
        """Bring dead letters back, of one service and queue or of all. Raises ServiceUnknown, NoSuchQueue."""
        if service is not None and service not in self._with_dead_letters:
            raise ServiceUnknown(f"No service {service!r} keeps dead letters.", known=sorted(self._with_dead_letters))
        if service is None and queue is not None:
            service = self._service_of(queue)

        async def ask(client: ServiceClient) -> int:
            body = ReplayRequest(queue=queue).model_dump()
            answer = await self._call(client, "POST", "/internal/dead-letters/replay", body)
            return ReplayResult.model_validate(answer).replayed

        names = self._with_dead_letters if service is None else frozenset({service})
        await self._tell(operator, "dead_letters.replay", queue or service)
        replayed, unanswered = await self._fan_out(names, ask)
        return DeadLettersReplayed(replayed=replayed, unanswered=unanswered)

    async def discard_dead_letters(self, operator: Caller, queue: str) -> DiscardResult:
        """Forget the dead letters of a queue for good. Raises NoSuchQueue, UpstreamUnavailable."""
        client = self._services[self._service_of(queue)]
        await self._tell(operator, "dead_letters.discard", queue)
        answer = await self._call(client, "POST", "/internal/dead-letters/discard", {"queue": queue})
        return DiscardResult.model_validate(answer)

    async def reembed(self, operator: Caller, tenant_id: TenantId | None) -> int:
        """Queue the documents whose vectors are of another model than the present one; the worker finds them."""
        queued = 0
        await self._tell(operator, "documents.reembed", tenant_id)
        while True:
            async with self._system_uow() as tx:
                batch = await tx.reembedding.queue_outdated(tenant_id=tenant_id, limit=_BATCH)
            queued += len(batch)
            if len(batch) < _BATCH:
                return queued

    async def list_pauses(self) -> list[ProviderPause]:
        """Accounts at model providers that are held back now."""
        with redis_errors_translated():
            pauses = await list_pauses(self._redis)
        return [
            ProviderPause(account_id=pause.account_id, provider=pause.provider, until=pause.until) for pause in pauses
        ]

    async def end_pauses(self, operator: Caller) -> int:
        """Let what waits for a model provider go on now."""
        await self._tell(operator, "pauses.end")
        with redis_errors_translated():
            return await end_pauses(self._redis)

    async def recount(self, operator: Caller) -> object:
        """Count what is stored by the rows; answers as HoldingsCorrected."""
        await self._tell(operator, "documents.recount")
        return await self._recount()

    async def _tell(self, operator: Caller, name: str, object_id: object = None) -> None:
        """Write the entry of an act that has no transaction of its own, before it: nothing is done that is untold."""
        async with self._system_uow() as tx:
            tx.outbox.add(entry(operator, name, object_id, detail="begun"))

    def _service_of(self, queue: str) -> str:
        service = queue.split(".", 1)[0]
        if service not in self._with_dead_letters:
            raise NoSuchQueue
        return service

    async def _health(self, client: ServiceClient) -> PartStatus:
        ready, checks = await _unless_away(client.get_health()) or (False, {})
        return PartStatus(name=client.name, ready=ready, checks=checks)

    async def _count_outdated(self) -> int:
        async with self._system_uow() as tx:
            return await tx.reembedding.count_outdated()

    async def _call(self, client: ServiceClient, method: str, path: str, body: Any = None) -> Any:
        return await client.request_json(method, path, json=body, headers=self._headers)

    async def _fan_out(
        self, names: frozenset[str], ask: Callable[[ServiceClient], Awaitable[T]]
    ) -> tuple[dict[str, T], list[str]]:
        """The answers by service, and who did not answer."""

        async def one(name: str) -> T | None:
            try:
                return await ask(self._services[name])
            except NotFound as error:
                if error.code == NoSuchQueue.code:
                    raise
                logger.warning("operator.unanswered", upstream=name, error=type(error).__name__)
                return None
            except (DocuChatError, ValidationError) as error:  # down, without such a path, or not understood
                logger.warning("operator.unanswered", upstream=name, error=type(error).__name__)
                return None

        ordered = sorted(names)
        answers = await asyncio.gather(*map(one, ordered))
        found = {name: answer for name, answer in zip(ordered, answers, strict=True) if answer is not None}
        return found, [name for name in ordered if name not in found]


async def _unless_away(question: Awaitable[T]) -> T | None:
    """The answer, or None when whom it asks is away."""
    try:
        return await asyncio.wait_for(question, _PATIENCE)
    except (UpstreamUnavailable, TimeoutError):
        return None
