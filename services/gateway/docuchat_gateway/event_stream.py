"""How the gateway ends a stream of server-sent events that cannot go on."""

from typing import Protocol

from docuchat_common.contracts.frames import error_frame, write_frame
from docuchat_common.errors import DocuChatError


def broken_off(error: DocuChatError, **more: str) -> bytes:
    """The event that tells the client that its stream ended early; with a `turn_id` it can be resumed."""
    return write_frame(error_frame(error, **more))


class BrokenOff(Protocol):
    """How a stream says that it ends early."""

    def __call__(self, error: DocuChatError, **more: str) -> bytes:
        """The event."""
