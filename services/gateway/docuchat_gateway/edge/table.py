"""What is passed on to which service."""

from dataclasses import dataclass
from typing import Final, Literal

ServiceName = Literal["auth", "chat", "usage"]


@dataclass(frozen=True, slots=True)
class Row:
    """One public path of a service behind; `public` ones need no token, `slow` ones wait for a model."""

    path: str
    methods: tuple[str, ...]
    service: ServiceName
    public: bool = False
    slow: bool = False


# Every path is named: what is not here is not reachable from outside, least of all /internal.
TABLE: Final[tuple[Row, ...]] = (
    Row("/v1/chat", ("POST",), "chat", slow=True),
    Row("/v1/turns/{turn_id}/stop", ("POST",), "chat"),
    Row("/v1/turns/{turn_id}/events", ("GET",), "chat", slow=True),
    Row("/v1/chats", ("GET", "POST"), "chat"),
    Row("/v1/chats/{chat_id}", ("GET", "PATCH", "PUT", "DELETE"), "chat"),
    Row("/v1/messages", ("GET", "POST"), "chat"),
    Row("/v1/search", ("GET",), "chat"),
    Row("/.well-known/jwks.json", ("GET",), "auth", public=True),
    Row("/v1/auth/request-code", ("POST",), "auth", public=True),
    Row("/v1/auth/verify-code", ("POST",), "auth", public=True),
    Row("/v1/auth/refresh", ("POST",), "auth", public=True),
    Row("/v1/auth/logout", ("POST",), "auth", public=True),
    Row("/v1/users/me", ("GET",), "auth"),
    Row("/v1/usage", ("GET",), "usage"),
)
