"""What of a client's request is passed on."""

from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

from docuchat_common.http.identity import INTERNAL_HEADER

# RFC 9110 §7.6.1, and what the gateway says itself
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_FORWARDED: Final = HOP_BY_HOP | {
    "host",
    "content-length",
    "expect",
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "tracestate",
    INTERNAL_HEADER.lower(),
}


def client_address(scope: Scope) -> str:
    """The client's address; behind a proxy the one it names, when the server trusts it (FORWARDED_ALLOW_IPS)."""
    client = scope.get("client")
    return client[0] if client else "unknown"


def forwarded_headers(headers: Headers) -> dict[str, str]:
    """What of a client's headers goes to the service behind; one that was sent twice in one line (RFC 9110, 5.3)."""
    named = {name.strip().lower() for line in headers.getlist("connection") for name in line.split(",")}
    return {
        name: ", ".join(headers.getlist(name)) for name in headers if name not in _NOT_FORWARDED and name not in named
    }


def raw_target(scope: Scope) -> str:
    """Path and query as the client wrote them."""
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return (raw_path.split(b"?", 1)[0] + (b"?" + query if query else b"")).decode("ascii", errors="replace")
