"""Errors of chats and messages."""

from __future__ import annotations

from docuchat_common.errors import Conflict, InvalidInput, NotFound, RateLimited


class ChatNotFound(NotFound):
    """There is no such chat."""

    code = "chat_not_found"


class NotAQuestion(Conflict):
    """This message is an answer; name the question to it."""

    code = "not_a_question"


class AnswerInProgress(Conflict):
    """This answer is still being written; wait for its end, or stop it: POST /v1/turns/{turn_id}/stop."""

    code = "answer_in_progress"


class ChatFull(Conflict):
    """This chat holds as many messages as one may; begin another."""

    code = "chat_full"


class ChatOfAnotherChatbot(Conflict):
    """Another chatbot answers in this chat, or none does; name its `chatbot_id`, or begin another chat."""

    code = "chat_of_another_chatbot"


class TooManyMessages(RateLimited):
    """As many messages were stored as one may store in a day without asking."""

    code = "too_many_messages"


class MessageTooLong(InvalidInput):
    """The message is too long."""

    code = "message_too_long"
