"""The address of a client, as it is counted and written down."""

import ipaddress

from fastapi import Request

from docuchat_common.http.identity import is_internal


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


def client_address(request: Request) -> str:
    """Who asks. `X-Forwarded-For` is believed from the gateway only; its last entry is what that saw."""
    peer = request.client.host if request.client is not None else ""
    forwarded = request.headers.get("x-forwarded-for", "")
    if forwarded and is_internal(request):
        peer = forwarded.rpartition(",")[2].strip()
    return limited_address(peer)
