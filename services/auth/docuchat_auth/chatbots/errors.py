"""What can go wrong with a chatbot's credentials. A class docstring is the message that the client reads."""

from docuchat_common.errors import RateLimited


class TooManyVisitors(RateLimited):
    """More visitors came from this address than may come at once; try again later."""

    code = "too_many_visitors"
