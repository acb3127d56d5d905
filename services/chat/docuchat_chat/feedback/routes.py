"""HTTP of feedback."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Response

from docuchat_chat.feedback.errors import MessageNotFound, NotAnAnswer
from docuchat_chat.feedback.schemas import FeedbackView, GiveFeedback
from docuchat_chat.feedback.service import FeedbackService
from docuchat_common.audit import audited
from docuchat_common.http.caller import Caller
from docuchat_common.http.json_body import JsonRoute
from docuchat_common.http.permissions import requires
from docuchat_common.http.problems import raises
from docuchat_common.http.provided import provided
from docuchat_common.ids import MessageId

router = APIRouter(prefix="/v1", route_class=JsonRoute)

Feedbacks = Annotated[FeedbackService, provided("feedback")]
Reader = Annotated[Caller, requires("chats.follow")]
MessagePath = Annotated[UUID, Path(description="Id of an answer.")]


@router.post("/messages/{message_id}/feedback", tags=["chats"], summary="Say what you think of an answer")
@raises(MessageNotFound, NotAnAnswer)
@audited("feedback.give")
async def give_feedback(
    message_id: MessagePath, body: GiveFeedback, caller: Reader, feedbacks: Feedbacks
) -> FeedbackView:
    """Rate an answer, with a reason and words of your own if you like; once more replaces what you said before."""
    return FeedbackView.of(await feedbacks.give(caller, MessageId(message_id), body.to_opinion()))


@router.delete(
    "/messages/{message_id}/feedback", tags=["chats"], summary="Take back what you think of an answer", status_code=204
)
@raises(MessageNotFound, NotAnAnswer)
@audited("feedback.take_back")
async def take_back_feedback(message_id: MessagePath, caller: Reader, feedbacks: Feedbacks) -> Response:
    """Delete your rating of an answer; without one nothing changes."""
    await feedbacks.take_back(caller, MessageId(message_id))
    return Response(status_code=204)
