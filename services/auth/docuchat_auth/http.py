"""What routes share: who asks, from where, and that answers with tokens are not cached."""

from typing import Annotated

from fastapi import Depends, Request, Response

from docuchat_common.http.addresses import client_address


async def _client_address(request: Request) -> str:
    return client_address(request)


ClientAddress = Annotated[str, Depends(_client_address)]


async def _no_store(response: Response) -> None:
    """Answers with tokens are never cached (RFC 6749 §5.1)."""
    response.headers["Cache-Control"] = "no-store"


NoStore = Depends(_no_store)
