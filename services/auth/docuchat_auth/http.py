"""What routes share: who asks, from where, and that answers with tokens are not cached."""

import ipaddress
from typing import Annotated, Final

from fastapi import Depends, Request, Response

from docuchat_auth.origin import Origin, note_origin
from docuchat_common.http.identity import is_internal
from docuchat_common.text import one_line

_LONGEST_DEVICE: Final = 120


def limited_address(address: str) -> str:
    """The address as it is counted: an IPv6 client has a whole /64, so that is what counts."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


async def _client_address(request: Request) -> str:
    """Who asks. `X-Forwarded-For` is believed from the gateway only; its last entry is what that saw."""
    peer = request.client.host if request.client is not None else ""
    forwarded = request.headers.get("x-forwarded-for", "")
    if forwarded and is_internal(request):
        peer = forwarded.rpartition(",")[2].strip()
    address = limited_address(peer)
    note_origin(Origin(one_line(request.headers.get("user-agent", ""))[:_LONGEST_DEVICE], address))
    return address


ClientAddress = Annotated[str, Depends(_client_address)]


async def _no_store(response: Response) -> None:
    """Answers with tokens are never cached (RFC 6749 §5.1)."""
    response.headers["Cache-Control"] = "no-store"


NoStore = Depends(_no_store)
