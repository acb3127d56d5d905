"""Errors of questions."""

from __future__ import annotations

from docuchat_common.errors import InvalidInput


class MessageEmpty(InvalidInput):
    """The message is empty; ask something."""

    code = "message_empty"
