"""What can go wrong with a chatbot's credentials. A class docstring is the message that the client reads."""

from docuchat_common.errors import NotFound, RateLimited


class ChatbotNotFound(NotFound):
    """There is no such chatbot."""

    code = "chatbot_not_found"


class TooManyVisitors(RateLimited):
    """More visitors came from this address than may come at once; try again later."""

    code = "too_many_visitors"
