"""Errors of chatbots."""

from __future__ import annotations

from docuchat_common.errors import Conflict, NotFound, UpstreamUnavailable


class ChatbotNotPublished(Conflict):
    """No version of this chatbot is live; publish its draft first."""

    code = "chatbot_not_published"


class ChatbotVersionNotFound(NotFound):
    """The chatbot has no such version."""

    code = "chatbot_version_not_found"


class ChatbotChanged(Conflict):
    """The chatbot was changed since you read it; read it again, and repeat your change with its `revision`."""

    code = "chatbot_changed"


class NothingToPublish(Conflict):
    """What is live says the same already; change the draft first."""

    code = "nothing_to_publish"


class TooManyChatbots(Conflict):
    """The tenant has as many chatbots as it can have; delete one first."""

    code = "too_many_chatbots"


class CredentialsLate(UpstreamUnavailable):
    """The chatbot's credentials took too long to be made; try again."""

    code = "chatbot_credentials_late"
