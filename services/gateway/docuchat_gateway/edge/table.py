"""What is passed on to which service."""

from dataclasses import dataclass
from typing import Final, Literal

from docuchat_common.http.json_body import LONG_BODY

ServiceName = Literal["auth", "chat", "usage"]
Audience = Literal["public", "tenant", "operator"]
"""Who may come: anybody, who is signed in to a tenant, or an operator. The service behind verifies again."""


@dataclass(frozen=True, slots=True)
class Row:
    """One public path of a service behind, for whom it is, and whether it is `slow`: waits for a model.

    A longer body than `max_bytes` is not passed on.
    """

    path: str
    methods: tuple[str, ...]
    service: ServiceName
    audience: Audience = "tenant"
    slow: bool = False
    max_bytes: int = 16 * 2**10


# Every path is named: what is not here is not reachable from outside, least of all /internal.
TABLE: Final[tuple[Row, ...]] = (
    Row("/v1/chat", ("POST",), "chat", slow=True, max_bytes=LONG_BODY),
    Row("/v1/turns/{turn_id}/stop", ("POST",), "chat"),
    Row("/v1/turns/{turn_id}/events", ("GET",), "chat", slow=True),
    Row("/v1/chats", ("GET", "POST"), "chat"),
    Row("/v1/chats/{chat_id}", ("GET", "PATCH", "PUT", "DELETE"), "chat"),
    Row("/v1/messages", ("GET", "POST"), "chat", max_bytes=LONG_BODY),
    Row("/v1/search", ("GET",), "chat"),
    Row("/.well-known/jwks.json", ("GET",), "auth", audience="public"),
    Row("/v1/auth/request-code", ("POST",), "auth", audience="public"),
    Row("/v1/auth/verify-code", ("POST",), "auth", audience="public"),
    Row("/v1/auth/refresh", ("POST",), "auth", audience="public"),
    Row("/v1/auth/logout", ("POST",), "auth", audience="public"),
    Row("/v1/users/me", ("GET",), "auth"),
    Row("/v1/operator/token", ("POST",), "auth", audience="public"),
    Row("/v1/operator/tenants", ("GET", "POST"), "auth", audience="operator"),
    Row("/v1/operator/tenants/{tenant}", ("PATCH",), "auth", audience="operator"),
    Row("/v1/operator/tenants/{tenant}/users", ("GET",), "auth", audience="operator"),
    Row("/v1/operator/signing-keys/rotate", ("POST",), "auth", audience="operator"),
    Row("/v1/operator/tenants/{tenant_id}/quota", ("GET", "PUT"), "usage", audience="operator"),
    Row("/v1/operator/prices", ("GET", "POST"), "usage", audience="operator"),
    Row("/v1/usage", ("GET",), "usage"),
)
