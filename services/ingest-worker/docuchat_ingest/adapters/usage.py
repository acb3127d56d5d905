"""Holds at the usage service."""

from collections.abc import Awaitable
from datetime import timedelta

import structlog

from docuchat_common.contracts.holds import Amount, HoldKind, HoldRequest, HoldUnit, Subject, SubjectType
from docuchat_common.errors import DocuChatError
from docuchat_common.http.holds import HoldsClient
from docuchat_common.ids import HoldId
from docuchat_knowledge.jobs.domain import Claim
from docuchat_models.spaces import EmbeddingSpace

logger = structlog.get_logger()


class UsageQuota:
    """What a document's embedding may cost; trouble with a hold that stands is logged, its lease ends it anyway."""

    def __init__(self, holds: HoldsClient) -> None:
        self._holds = holds

    async def hold(self, claim: Claim, space: EmbeddingSpace, *, tokens: int, pages: int, lease: timedelta) -> HoldId:
        amounts = [Amount(unit=HoldUnit.INPUT_TOKENS, amount=tokens)]
        if pages:
            amounts.append(Amount(unit=HoldUnit.PAGES, amount=pages))
        request = HoldRequest(
            tenant_id=claim.tenant_id,
            subjects=() if claim.uploaded_by is None else (Subject(type=SubjectType.USER, id=str(claim.uploaded_by)),),
            kind=HoldKind.EMBEDDING,
            provider=space.provider,
            model=space.model,
            amounts=tuple(amounts),
            lease=lease,
        )
        return HoldId((await self._holds.open(request)).hold_id)

    async def renew(self, hold_id: HoldId, lease: timedelta, tokens: int | None = None) -> None:
        await _tolerated("renew", hold_id, self._holds.renew(hold_id, lease, tokens))

    async def release(self, hold_id: HoldId) -> None:
        await _tolerated("release", hold_id, self._holds.release(hold_id))


async def _tolerated(action: str, hold_id: HoldId, change: Awaitable[object]) -> None:
    try:
        await change
    except DocuChatError as error:
        logger.info("hold.unchanged", action=action, hold_id=str(hold_id), code=error.code)
