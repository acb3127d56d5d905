"""`/internal/dead-letters`, the same at every service that consumes; its container has `dead_letters`."""

from typing import Annotated

from fastapi import APIRouter

from docuchat_common.contracts.dead_letters import (
    DeadLetter,
    DeadLetterList,
    DiscardRequest,
    DiscardResult,
    ReplayRequest,
    ReplayResult,
)
from docuchat_common.http.identity import InternalCaller
from docuchat_common.http.provided import provided
from docuchat_common.messaging.dead_letters import DeadLetterOffice

router = APIRouter(prefix="/internal/dead-letters", dependencies=[InternalCaller], include_in_schema=False)

Office = Annotated[DeadLetterOffice, provided("dead_letters")]


@router.get("")
async def list_dead_letters(office: Office) -> DeadLetterList:
    """What this service gave up, by queue, type and reason."""
    found = await office.list()
    return DeadLetterList(
        items=[
            DeadLetter(
                queue=one.queue,
                type=one.type,
                reason=one.reason,
                count=one.count,
                oldest_seconds=one.oldest.total_seconds(),
                ids=list(one.ids),
            )
            for one in found
        ]
    )


@router.post("/replay")
async def replay_dead_letters(body: ReplayRequest, office: Office) -> ReplayResult:
    """Bring dead letters back to the queue that they came from, with a fresh ladder."""
    return ReplayResult(replayed=await office.replay(body.queue))


@router.post("/discard")
async def discard_dead_letters(body: DiscardRequest, office: Office) -> DiscardResult:
    """Forget the dead letters of one queue for good."""
    return DiscardResult(discarded=await office.discard(body.queue))
