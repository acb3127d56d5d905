"""Errors of responses."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound


class ResponseNotFound(NotFound):
    """There is no such response; what was asked with `store: false` is not kept."""

    code = "response_not_found"


class PreviousResponseNotFound(NotFound):
    """There is no such response to go on from; what was asked with `store: false` is not kept."""

    code = "previous_response_not_found"


class ResponseInProgress(Conflict):
    """The response that this question follows is still being written; ask again when it has ended."""

    code = "response_in_progress"


class ResponseContinued(Conflict):
    """The response is part of a longer chat, which is deleted as a whole: DELETE /v1/chats/{chat_id}."""

    code = "response_continued"
