"""The `Idempotency-Key` header, and an answer that is given again."""

from typing import Annotated, Final

from fastapi import Depends, Header, Request
from starlette.responses import Response

from docuchat_common.idempotency import StoredResponse

REPLAYED_HEADER: Final = "Idempotent-Replayed"

_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Makes the request safe to repeat: with the same key and body it takes effect once, and a "
        "repetition gets the first one's answer. 1 to 255 visible ASCII characters, a UUID for example.",
    ),
]


async def _key(request: Request, key: _Key = None) -> str | None:
    """The header as it was sent: several are one that is not valid, instead of any of them."""
    return None if key is None else ", ".join(request.headers.getlist("Idempotency-Key"))


IdempotencyKey = Annotated[str | None, Depends(_key)]


def replayed(stored: StoredResponse) -> Response:
    """The answer as it was, byte for byte, marked as a repetition."""
    return Response(
        stored.body,
        status_code=stored.status,
        media_type=stored.media_type,
        headers={**stored.headers, REPLAYED_HEADER: "true"},
    )
