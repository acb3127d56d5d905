"""Errors of feedback."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound


class MessageNotFound(NotFound):
    """There is no such message in a chat of yours."""

    code = "message_not_found"


class NotAnAnswer(Conflict):
    """This message is a question; name the answer to it."""

    code = "not_an_answer"
