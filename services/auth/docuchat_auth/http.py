"""What routes share: who asks, from where, and that answers with tokens are not cached."""

from typing import Annotated, Final

from fastapi import Depends, Request, Response

from docuchat_auth.origin import Origin, note_origin
from docuchat_common.http.addresses import client_address
from docuchat_common.text import one_line

_LONGEST_DEVICE: Final = 120


async def _client_address(request: Request) -> str:
    address = client_address(request)
    note_origin(Origin(one_line(request.headers.get("user-agent", ""))[:_LONGEST_DEVICE], address))
    return address


ClientAddress = Annotated[str, Depends(_client_address)]


async def _no_store(response: Response) -> None:
    """Answers with tokens are never cached (RFC 6749 §5.1)."""
    response.headers["Cache-Control"] = "no-store"


NoStore = Depends(_no_store)
