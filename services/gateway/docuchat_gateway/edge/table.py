"""What is passed on to which service."""

from dataclasses import dataclass
from typing import Final, Literal

from docuchat_common.contracts.permissions import Permission
from docuchat_common.http.json_body import LONG_BODY, LONG_CONVERSATION, SHORT_BODY

ServiceName = Literal["auth", "chat", "usage"]


@dataclass(frozen=True, slots=True)
class Row:
    """Some methods of a public path, what they ask of the caller, and whether they are `slow`: wait for a model.

    The service behind asks again. A longer body than `max_bytes` is not passed on. A path whose methods ask different
    things has several rows.
    """

    path: str
    methods: tuple[str, ...]
    service: ServiceName
    action: Permission
    slow: bool = False
    max_bytes: int = 16 * 2**10
    may_sign_in: bool = False
    """Of a public path: whether a token is verified where one is sent."""
    speaks: Literal["docuchat", "openai"] = "docuchat"
    """In whose words refusals are told."""
    open_end: bool = False
    """Whether the last parameter of the path goes on to its end, slashes and all."""

    @property
    def route(self) -> str:
        """The path as it is matched."""
        return f"{self.path.removesuffix('}')}:path}}" if self.open_end else self.path


# Every path is named: what is not here is not reachable from outside, least of all /internal.
TABLE: Final[tuple[Row, ...]] = (
    Row("/v1/chat", ("POST",), "chat", "chats.use", slow=True, max_bytes=LONG_BODY),
    Row("/v1/chatbots/{chatbot_id}/query", ("POST",), "chat", "chats.use", slow=True, max_bytes=LONG_BODY),
    Row(
        "/v1/public/chatbots/{publishable_id}/query", ("POST",), "chat", "chatbots.ask", slow=True, max_bytes=LONG_BODY
    ),
    Row(
        "/v1/chat/completions",
        ("POST",),
        "chat",
        "models.use",
        slow=True,
        max_bytes=LONG_CONVERSATION,
        speaks="openai",
    ),
    Row(
        "/v1/responses",
        ("POST",),
        "chat",
        "models.use",
        slow=True,
        max_bytes=LONG_CONVERSATION,
        speaks="openai",
    ),
    Row("/v1/responses/{response_id}", ("GET",), "chat", "models.use", slow=True, speaks="openai"),
    Row("/v1/responses/{response_id}", ("DELETE",), "chat", "models.use", speaks="openai"),
    Row("/v1/responses/{response_id}/cancel", ("POST",), "chat", "models.use", slow=True, speaks="openai"),
    Row("/v1/responses/{response_id}/input_items", ("GET",), "chat", "models.use", speaks="openai"),
    Row("/v1/embeddings", ("POST",), "chat", "chats.use", slow=True, max_bytes=LONG_CONVERSATION, speaks="openai"),
    Row("/v1/models", ("GET",), "chat", "models.use", speaks="openai"),
    Row("/v1/models/{model_id}", ("GET",), "chat", "models.use", speaks="openai", open_end=True),
    Row("/v1/public/chatbots/{publishable_id}", ("GET",), "chat", "public"),
    Row("/v1/public/chats/{session_id}", ("GET",), "chat", "chatbots.ask"),
    Row("/v1/turns/{turn_id}/stop", ("POST",), "chat", "chats.follow"),
    Row("/v1/turns/{turn_id}/events", ("GET",), "chat", "chats.follow", slow=True),
    Row("/v1/chats", ("GET", "POST"), "chat", "chats.use"),
    Row("/v1/chats/{chat_id}", ("GET", "PATCH", "PUT", "DELETE"), "chat", "chats.use"),
    Row("/v1/chats/{chat_id}/export", ("GET",), "chat", "chats.use"),
    Row("/v1/chats/{chat_id}/sessions", ("GET", "POST"), "chat", "chats.use"),
    Row("/v1/chats/{chat_id}/sessions/{session_id}", ("PUT", "DELETE"), "chat", "chats.use"),
    Row("/v1/chats/{chat_id}/share", ("POST",), "chat", "chats.use"),
    Row("/v1/chats/{chat_id}/shares", ("GET",), "chat", "chats.use"),
    Row("/v1/chats/{chat_id}/shares/{share_id}", ("DELETE",), "chat", "chats.use"),
    Row("/v1/shared/{token}", ("GET",), "chat", "public", may_sign_in=True),
    Row("/v1/messages", ("GET", "POST"), "chat", "chats.use", max_bytes=LONG_BODY),
    Row("/v1/messages/{message_id}/feedback", ("POST", "DELETE"), "chat", "chats.follow"),
    Row("/v1/messages/{message_id}/regenerate", ("POST",), "chat", "chats.use", slow=True),
    Row("/v1/messages/{message_id}/edit", ("POST",), "chat", "chats.use", slow=True, max_bytes=LONG_BODY),
    Row("/v1/chatbots", ("GET",), "chat", "chatbots.read"),
    Row("/v1/chatbots", ("POST",), "chat", "chatbots.manage", max_bytes=LONG_BODY),
    Row("/v1/chatbots/{chatbot_id}", ("GET",), "chat", "chatbots.read"),
    Row("/v1/chatbots/{chatbot_id}", ("PATCH",), "chat", "chatbots.manage", max_bytes=LONG_BODY),
    Row("/v1/chatbots/{chatbot_id}", ("DELETE",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/publish", ("POST",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/unpublish", ("POST",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/rotate_key", ("POST",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/conversations", ("GET",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/conversations/{chat_id}", ("GET",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/insights", ("GET",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/versions", ("GET",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/versions/{version}", ("GET",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/versions/{version}/changes", ("GET",), "chat", "chatbots.manage"),
    Row("/v1/chatbots/{chatbot_id}/versions/{version}/restore", ("POST",), "chat", "chatbots.manage"),
    Row("/v1/search", ("GET",), "chat", "documents.read"),
    Row("/v1/providers", ("GET", "POST"), "chat", "providers.manage", max_bytes=SHORT_BODY),
    Row("/v1/providers/{provider_id}/check", ("POST",), "chat", "providers.manage", slow=True),
    Row("/v1/providers/{provider_id}", ("GET", "PATCH", "DELETE"), "chat", "providers.manage", max_bytes=SHORT_BODY),
    Row("/mcp", ("POST",), "chat", "mcp.use", slow=True, max_bytes=LONG_BODY),
    Row("/.well-known/jwks.json", ("GET",), "auth", "public"),
    Row("/v1/public/chatbots/{publishable_id}/visitors", ("POST",), "auth", "public"),
    Row("/v1/auth/request-code", ("POST",), "auth", "public"),
    Row("/v1/auth/verify-code", ("POST",), "auth", "public"),
    Row("/v1/auth/register", ("POST",), "auth", "public"),
    Row("/v1/auth/login", ("POST",), "auth", "public"),
    Row("/v1/auth/token", ("POST",), "auth", "public"),
    Row("/v1/auth/verify-email", ("POST",), "auth", "account.use"),
    Row("/v1/auth/verify-email/request", ("POST",), "auth", "account.use"),
    Row("/v1/auth/password/forgot", ("POST",), "auth", "public"),
    Row("/v1/auth/password/reset", ("POST",), "auth", "public"),
    Row("/v1/auth/refresh", ("POST",), "auth", "public"),
    Row("/v1/auth/logout", ("POST",), "auth", "public"),
    Row("/v1/users/me", ("GET", "PATCH"), "auth", "account.use"),
    Row("/v1/users/me/password", ("PUT",), "auth", "account.use"),
    Row("/v1/users/me/second-factor", ("GET",), "auth", "account.use"),
    Row("/v1/users/me/second-factor/totp", ("POST", "DELETE"), "auth", "account.use"),
    Row("/v1/users/me/second-factor/totp/confirm", ("POST",), "auth", "account.use"),
    Row("/v1/users/me/second-factor/recovery-codes", ("POST",), "auth", "account.use"),
    Row("/v1/users/{user_id}/second-factor", ("DELETE",), "auth", "users.manage"),
    Row("/v1/users/me/passkeys", ("GET", "POST"), "auth", "account.use"),
    Row("/v1/users/me/passkeys/options", ("POST",), "auth", "account.use"),
    Row("/v1/users/me/passkeys/{passkey_id}", ("DELETE",), "auth", "account.use"),
    Row("/v1/users/me/identities", ("GET",), "auth", "account.use"),
    Row("/v1/users/me/identities/{provider_id}", ("DELETE",), "auth", "account.use"),
    Row("/v1/users/{user_id}/identities", ("GET",), "auth", "users.manage"),
    Row("/v1/users/{user_id}/identities/{provider_id}", ("DELETE",), "auth", "users.manage"),
    Row("/v1/auth/passkeys", ("POST",), "auth", "public"),
    Row("/v1/auth/passkeys/options", ("POST",), "auth", "public"),
    Row("/v1/users", ("GET",), "auth", "users.read"),
    Row("/v1/users/{user_id}", ("PATCH", "DELETE"), "auth", "users.manage"),
    Row("/v1/users/{user_id}/erase", ("POST",), "auth", "users.manage"),
    Row("/v1/users/{user_id}/receipt", ("GET",), "auth", "users.manage"),
    Row("/v1/sessions", ("GET", "DELETE"), "auth", "account.use"),
    Row("/v1/sessions/{session_id}", ("DELETE",), "auth", "account.use"),
    Row("/v1/invitations", ("GET", "POST"), "auth", "users.manage"),
    Row("/v1/invitations/accept", ("POST",), "auth", "public"),
    Row("/v1/invitations/{invitation_id}", ("DELETE",), "auth", "users.manage"),
    Row("/v1/invitations/{invitation_id}/resend", ("POST",), "auth", "users.manage"),
    Row("/v1/groups", ("GET", "POST"), "auth", "groups.manage"),
    Row("/v1/groups/{group_id}", ("GET", "PATCH", "DELETE"), "auth", "groups.manage"),
    Row("/v1/groups/{group_id}/members", ("GET",), "auth", "groups.manage"),
    Row("/v1/groups/{group_id}/members/{user_id}", ("PUT", "DELETE"), "auth", "groups.manage"),
    Row("/v1/api-keys", ("GET", "POST"), "auth", "keys.use"),
    Row("/v1/api-keys/{key_id}", ("DELETE",), "auth", "keys.use"),
    Row("/v1/api-keys/{key_id}/rotate", ("POST",), "auth", "keys.use"),
    Row("/v1/domains", ("GET", "POST"), "auth", "identity.manage"),
    Row("/v1/domains/{domain_id}", ("DELETE",), "auth", "identity.manage"),
    Row("/v1/domains/{domain_id}/verify", ("POST",), "auth", "identity.manage"),
    Row("/v1/identity-providers", ("GET", "POST"), "auth", "identity.manage", max_bytes=SHORT_BODY),
    Row(
        "/v1/identity-providers/{provider_id}",
        ("GET", "PATCH", "DELETE"),
        "auth",
        "identity.manage",
        max_bytes=SHORT_BODY,
    ),
    Row("/v1/auth/oidc/{tenant}/{provider_id}/start", ("GET",), "auth", "public"),
    Row("/v1/auth/oidc/callback/{provider_id}", ("GET",), "auth", "public"),
    Row("/v1/auth/oidc/exchange", ("POST",), "auth", "public"),
    Row("/v1/tenant", ("GET",), "auth", "tenant.read"),
    Row("/v1/tenant", ("PATCH",), "auth", "tenant.manage"),
    Row("/v1/tenant", ("DELETE",), "auth", "tenant.own"),
    Row("/v1/tenant/restore", ("POST",), "auth", "tenant.own"),
    Row("/scim/v2/Users", ("GET", "POST"), "auth", "directory.sync"),
    Row("/scim/v2/Users/{user_id}", ("GET", "PUT", "PATCH", "DELETE"), "auth", "directory.sync"),
    Row("/scim/v2/Groups", ("GET", "POST"), "auth", "directory.sync", max_bytes=SHORT_BODY),
    Row(
        "/scim/v2/Groups/{group_id}",
        ("GET", "PUT", "PATCH", "DELETE"),
        "auth",
        "directory.sync",
        max_bytes=SHORT_BODY,
    ),
    Row("/scim/v2/ServiceProviderConfig", ("GET",), "auth", "directory.sync"),
    Row("/scim/v2/ResourceTypes", ("GET",), "auth", "directory.sync"),
    Row("/scim/v2/Schemas", ("GET",), "auth", "directory.sync"),
    Row("/v1/audit", ("GET",), "auth", "audit.read"),
    Row("/v1/operator/audit", ("GET",), "auth", "operator"),
    Row("/v1/operator/audit/verify", ("GET",), "auth", "operator"),
    Row("/v1/operator/token", ("POST",), "auth", "public"),
    Row("/v1/operator/tenants", ("GET", "POST"), "auth", "operator"),
    Row("/v1/operator/tenants/{tenant}", ("PATCH", "DELETE"), "auth", "operator"),
    Row("/v1/operator/tenants/{tenant}/restore", ("POST",), "auth", "operator"),
    Row("/v1/operator/tenants/{tenant}/receipt", ("GET",), "auth", "operator"),
    Row("/v1/operator/tenants/{tenant}/domains/{domain_name}", ("DELETE",), "auth", "operator"),
    Row("/v1/operator/tenants/{tenant}/users", ("GET",), "auth", "operator"),
    Row("/v1/operator/tenants/{tenant}/users/{user}", ("PATCH",), "auth", "operator"),
    Row("/v1/operator/tenants/{tenant}/users/{user}/reset-sign-in", ("POST",), "auth", "operator"),
    Row("/v1/operator/signing-keys/rotate", ("POST",), "auth", "operator"),
    Row("/v1/operator/tenants/{tenant_id}/quota", ("GET", "PUT"), "usage", "operator"),
    Row("/v1/operator/prices", ("GET", "POST"), "usage", "operator"),
    Row("/v1/operator/providers/{provider_id}/check", ("POST",), "chat", "operator", slow=True),
    Row("/v1/operator/providers", ("GET", "POST"), "chat", "operator", max_bytes=SHORT_BODY),
    Row("/v1/operator/providers/{provider_id}", ("GET", "PATCH", "DELETE"), "chat", "operator", max_bytes=SHORT_BODY),
    Row("/v1/usage", ("GET",), "usage", "usage.read"),
)
