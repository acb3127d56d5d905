"""What every slice may refuse with."""

from docuchat_common.errors import RateLimited


class TooManyAttempts(RateLimited):
    """Too many attempts; wait before the next one."""

    code = "too_many_attempts"
