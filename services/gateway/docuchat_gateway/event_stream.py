"""How the gateway ends a stream of server-sent events that cannot go on."""

from orjson import dumps

from docuchat_common.contracts.frames import write_event
from docuchat_common.errors import DocuChatError


def broken_off(error: DocuChatError, **more: str) -> bytes:
    """The event that tells the client that its stream ended early; with a `turn_id` it can be resumed."""
    return write_event(b"error", dumps(error_frame(error, **more)))


def error_frame(error: DocuChatError, **more: str) -> dict[str, object]:
    """An error as it stands in event streams and on the WebSocket."""
    frame: dict[str, object] = {"type": "error", "code": error.code, "message": error.detail, **more}
    if error.retry_after is not None:
        frame["retry_after"] = max(1, round(error.retry_after.total_seconds()))
    return frame | {key: value for key, value in error.extensions.items() if key not in frame}
