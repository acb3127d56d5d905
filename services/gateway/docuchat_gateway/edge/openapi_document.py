"""One OpenAPI document of the whole public surface: the gateway's own routes and the services' committed snapshots.

Services import no service, so their documents are snapshots in `openapi/`, made by `scripts/refresh_openapi.py`; a test
refuses a stale one.
"""

from collections import defaultdict
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import orjson

from docuchat_common.contracts.frames import frame_schemas
from docuchat_common.contracts.openai_errors import OpenAIError, openai_status
from docuchat_common.errors import (
    DocuChatError,
    PayloadTooLarge,
    RateLimited,
    Unauthenticated,
    UpstreamUnavailable,
)
from docuchat_common.http.caller import NotAllowed, SecondFactorRequired
from docuchat_common.http.claims import InvalidToken
from docuchat_common.http.identity import AddressNotAllowed, InvalidApiKey, OperatorToken, TenantMismatch, TokenExpired
from docuchat_common.http.permissions import EXTENSION, READ
from docuchat_common.http.problems import codes_of, reference, with_problems
from docuchat_gateway.edge import session
from docuchat_gateway.edge.aliases.middleware import TABLE as ALIASES
from docuchat_gateway.edge.api_keys import HEADER
from docuchat_gateway.edge.errors import (
    BadFrame,
    Busy,
    FrameTooLarge,
    LinkClosed,
    OriginRefused,
    SessionEnded,
    SlowBody,
    TenantDeleting,
    TenantSuspended,
    TokenOutdated,
    TooManySockets,
    TwoCredentials,
)
from docuchat_gateway.edge.limits import LIMITED
from docuchat_gateway.edge.openai_errors import SPOKEN
from docuchat_gateway.edge.standing import READS
from docuchat_gateway.edge.table import TABLE

SERVICES: Final = ("auth", "chat", "usage")

JsonObject = dict[str, Any]
_READS: Final = {method.lower() for method in READS}


def load_snapshots() -> dict[str, JsonObject]:
    """The services' documents by name."""
    folder = files("docuchat_gateway") / "openapi"
    return {name: orjson.loads((folder / f"{name}.json").read_bytes()) for name in SERVICES}


def merge(own: JsonObject, snapshots: dict[str, JsonObject]) -> JsonObject:
    """`own` with every operation of `snapshots` that the gateway passes on.

    Schemas of the same name and content are one; when only the name is the same, the service's gets its name in front.
    """
    document = orjson.loads(orjson.dumps(own))
    components: JsonObject = document.setdefault("components", {})
    schemas: JsonObject = components.setdefault("schemas", {})
    rows = {(row.path, method) for row in TABLE for method in row.methods}
    for service, snapshot in snapshots.items():
        theirs: JsonObject = snapshot.get("components", {})
        renamed = {
            name: f"{service.capitalize()}{name}"
            for name, schema in theirs.get("schemas", {}).items()
            if name in schemas and schemas[name] != schema
        }
        for name, schema in theirs.get("schemas", {}).items():
            schemas[renamed.get(name, name)] = _renamed(schema, renamed)
        for kind in set(theirs) - {"schemas"}:
            components.setdefault(kind, {}).update(theirs[kind])
        for path, operations in snapshot["paths"].items():
            for method, operation in operations.items():
                if (path, method.upper()) in rows:
                    document["paths"].setdefault(path, {})[method] = _relayed(_renamed(operation, renamed))
    document["paths"] = dict(sorted(document["paths"].items()))
    _drop_unused(schemas, document)
    return dict(document)


def describe(document: JsonObject) -> JsonObject:
    """`document` with what belongs to the whole: servers, tags, who may call what, and the headers of refusals."""
    _add_frames(document, document["components"]["schemas"])
    document["components"]["headers"] = _HEADERS
    document["components"].setdefault("securitySchemes", {})[_AUTHORIZE] = {
        "type": "oauth2",
        "description": "By password. `client_id` names the tenant, where somebody is in several; `client_secret` is "
        "the code of the authenticator app, or a recovery code, of who has a second factor.",
        "flows": {"password": {"tokenUrl": "/v1/auth/token", "scopes": {}}},
    }
    document["components"]["securitySchemes"][_API_KEY] = {
        "type": "apiKey",
        "in": "header",
        "name": HEADER,
        "description": "The `secret` of POST /v1/api-keys; it may stand as `Authorization: Bearer` as well, and in no "
        "address: `?token=` of a socket takes access tokens only.",
    }
    document["servers"] = [{"url": "/", "description": "The gateway that serves this document"}]
    document["info"] |= {
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        "contact": {"name": "DocuChat", "url": "https://github.com/docuchat"},
    }
    document["tags"] = [{"name": name, "description": description} for name, _, description in _TAGS]
    for path, item in document["paths"].items():
        tag = "system" if path == "/" else next(name for name, prefixes, _ in _TAGS if path.startswith(prefixes))
        for method, operation in item.items():
            operation["tags"] = [tag]
            operation.setdefault("description", f"{operation['summary']}.")
            if operation.get(EXTENSION) == "public":
                operation["security"] = []
                operation["parameters"] = [*operation.get("parameters", []), *_missing_tenant_header(operation, path)]
            if path in _MAY_SIGN_IN:
                operation["security"] = [{}, {"HTTPBearer": []}]
                problems = (TokenOutdated, SessionEnded, LinkClosed)
                operation["responses"] = with_problems(operation["responses"], *problems)
            operation.setdefault("security", [])
            if operation.get(EXTENSION) == "operator":
                operation["responses"] = with_problems(operation["responses"], SessionEnded)
            elif operation.get(EXTENSION) != "public":
                resting = [] if method in _READS or READ in operation else [TenantSuspended, TenantDeleting]
                operation["responses"] = with_problems(operation["responses"], TokenOutdated, SessionEnded, *resting)
            operation["responses"].setdefault("408", {"description": "The head of the request came too slowly."})
            if path == _OF_ASSISTANTS:
                operation["responses"] = with_problems(operation["responses"], OriginRefused)
            if path.startswith(LIMITED):
                operation["responses"] = with_problems(operation["responses"], RateLimited)
            aliases = [alias.path for alias in ALIASES if alias.target == path and method.upper() in alias.methods]
            if aliases:
                operation["x-aliases"] = aliases
            if {"HTTPBearer": []} in operation["security"]:
                operation["security"] = [*operation["security"], {_API_KEY: []}, {_AUTHORIZE: []}]
                operation["responses"] = with_problems(operation["responses"], *_REFUSED_KEYS)
            for status, response in operation["responses"].items():
                named = _headers_of(status, is_limited=path.startswith(LIMITED))
                response["headers"] = {name: _header(name) for name in named} | response.get("headers", {})
    _name_codes_of_frames(document)
    _say_in_openai_words(document)
    return document


_OF_ASSISTANTS: Final = "/mcp"
_API_KEY: Final = "ApiKey"
_REFUSED_KEYS: Final = (InvalidApiKey, AddressNotAllowed, TwoCredentials)
_AUTHORIZE: Final = "OAuth2Password"
"""With it *Authorize* of a page of documentation asks for address and password."""
_TAGS: Final = (
    ("system", ("/healthz", "/livez", "/readyz", "/.well-known/jwks.json"), "What this server is, and how it is."),
    ("operator", ("/v1/operator",), "For operators of the whole product, with an operator's token."),
    ("auth", ("/v1/auth",), "Registering, signing in by password or mailed code, and keeping signed in."),
    ("users", ("/v1/users", "/v1/invitations"), "Oneself, and who else is in the tenant or invited."),
    ("sessions", ("/v1/sessions",), "Where one is signed in."),
    ("groups", ("/v1/groups",), "Groups of users."),
    ("collections", ("/v1/collections",), "Who may see and change which documents."),
    ("api-keys", ("/v1/api-keys",), "Keys for programs."),
    ("audit", ("/v1/audit",), "Who did what."),
    ("identity", ("/v1/domains", "/v1/identity-providers"), "Domains that are proven, and sign-in by a company's own."),
    ("exports", ("/v1/exports", "/v1/tenant/export"), "Archives of all that is kept of the tenant or of one person."),
    ("tenant", ("/v1/tenant",), "The own tenant: what its admins change of it."),
    ("scim", ("/scim/",), "SCIM 2.0, for a company's directory."),
    ("documents", ("/v1/files", "/v1/attachments", "/v1/passages"), "Files, how far they have come, and their text."),
    ("providers", ("/v1/providers",), "Providers of models: the tenant's own, and the platform's."),
    ("chatbots", ("/v1/chatbots",), "Chatbots, what they answer from, and their versions."),
    ("public", ("/v1/public",), "Chatbots in public: for visitors of pages, and for programs with a chatbot's key."),
    ("openai", ("/v1/models", *SPOKEN), "What OpenAI's clients ask for, in their shape."),
    ("chat", ("/v1/chat", "/v1/turns", "/v1/shared", "/v1/messages"), "Questions, streamed answers and conversations."),
    ("events", ("/v1/events",), "All documents and turns of a user in one stream."),
    ("search", ("/v1/search",), "Passages without an answer."),
    (
        "mcp",
        ("/mcp", "/.well-known/oauth-protected-resource"),
        "The Model Context Protocol, for assistants and editors.",
    ),
    ("usage", ("/v1/usage",), "What was used, what it cost and what is left."),
)
_HEADERS: Final = {
    name: {"description": description, "schema": schema}
    for name, description, schema in (
        ("X-Request-ID", "Under this name the request is in the logs.", {"type": "string"}),
        ("Retry-After", "Seconds after which to try again.", {"type": "integer", "minimum": 1}),
        ("RateLimit-Limit", "Requests in a sliding minute.", {"type": "integer"}),
        ("RateLimit-Remaining", "Those that are left.", {"type": "integer"}),
        ("RateLimit-Reset", "Seconds until one more is.", {"type": "integer"}),
    )
}
_TENANT_HEADER: Final = {
    "name": "X-Tenant-ID",
    "in": "header",
    "required": False,
    "description": "The tenant, by id or slug; the token names it once one is there.",
    "schema": {"type": "string"},
}


def _missing_tenant_header(operation: JsonObject, path: str) -> list[JsonObject]:
    named = {parameter.get("name", "").lower() for parameter in operation.get("parameters", [])}
    return [] if "x-tenant-id" in named or not path.startswith("/v1/auth") else [_TENANT_HEADER]


def _headers_of(status: str, *, is_limited: bool) -> list[str]:
    waits = ["Retry-After"] if status in {"429", "503"} else []
    counted = (
        [name for name in _HEADERS if name.startswith("RateLimit-")] if is_limited and (status < "400" or waits) else []
    )
    return ["X-Request-ID", *waits, *counted]


def _header(name: str) -> JsonObject:
    return {"$ref": f"#/components/headers/{name}"}


def _add_frames(document: JsonObject, schemas: JsonObject) -> None:
    """The frames of the conversation, and where they stream over HTTP."""
    for name, schema in frame_schemas().items():
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
    for path, method in (("/v1/chat", "post"), ("/v1/turns/{turn_id}/events", "get")):
        answer = document["paths"].get(path, {}).get(method, {}).get("responses", {}).get("200", {})
        if "text/event-stream" in answer.get("content", {}):
            answer["content"]["text/event-stream"] = {"schema": reference("ServerFrame")}
    document["webhooks"] = {
        "chatSocket": {
            "post": {
                "operationId": "chatSocket",
                "summary": "A message over `WS /ws/chat`",
                "description": _SOCKET,
                "tags": ["chat"],
                "security": [],
                EXTENSION: "chats.use",
                "requestBody": {"content": {"application/json": {"schema": reference("ClientMessage")}}},
                "responses": {
                    "200": {
                        "description": "Frames, until the turn ends",
                        "content": {"application/json": {"schema": reference("ServerFrame")}},
                    },
                    "4XX": {
                        "description": "A frame `error`",
                        "content": {"application/json": {"schema": reference("ErrorFrame")}},
                    },
                },
            }
        }
    }


_MAY_SIGN_IN: Final = frozenset(row.path for row in TABLE if row.may_sign_in)
_SOCKET: Final = f"""\
No webhook: OpenAPI has no place of its own for the messages of a socket. As AsyncAPI: `/asyncapi.json`.

The handshake is refused with 403 `origin_refused` for pages of other sites, and with 429 `too_many_sockets` or
`rate_limited` for an address with too many sockets or bad tokens. Whatever else is wrong is told after it, by a frame
`error` before the socket is closed:

| code | when |
|---|---|
{"".join(f"| {code} | {when} |{chr(10)}" for code, when in session.CLOSE_CODES.items())}
A client that does not read is dropped without a close.
"""
_OF_SOCKETS: Final[tuple[type[DocuChatError], ...]] = (
    BadFrame,
    Busy,
    FrameTooLarge,
    TooManySockets,
    RateLimited,
    Unauthenticated,
    InvalidToken,
    TokenExpired,
    OperatorToken,
    TenantMismatch,
    NotAllowed,
    TenantDeleting,
    SecondFactorRequired,
    TenantSuspended,
    TokenOutdated,
    SessionEnded,
    UpstreamUnavailable,
)
"""What an `error` frame may say beside what chat answers."""
_FRAMED: Final = (
    ("/v1/chat", "post"),
    ("/v1/turns/{turn_id}/events", "get"),
    ("/v1/turns/{turn_id}/stop", "post"),
    ("/v1/files/{document_id}/events", "get"),
)
"""Whose refusals come as frames as well."""


def _name_codes_of_frames(document: JsonObject) -> None:
    """Say which codes an `error` frame may have: those of what the frames come from."""
    codes = {kind.code for kind in _OF_SOCKETS}
    for path, method in _FRAMED:
        for response in document["paths"].get(path, {}).get(method, {}).get("responses", {}).values():
            codes |= codes_of(response)
    document["components"]["schemas"]["ErrorFrame"]["properties"]["code"]["enum"] = sorted(codes)


def _say_in_openai_words(document: JsonObject) -> None:
    """Describe the refusals of the paths whose clients are OpenAI's as they are told there."""
    schema = OpenAIError.model_json_schema(ref_template="#/components/schemas/{model}")
    document["components"]["schemas"] |= schema.pop("$defs") | {"OpenAIError": schema}
    for path in SPOKEN:
        for operation in document["paths"].get(path, {}).values():
            refusals: dict[str, JsonObject] = {}
            codes: defaultdict[str, set[str]] = defaultdict(set)
            for status, response in list(operation["responses"].items()):
                if found := codes_of(response):
                    told = str(openai_status(int(status)))
                    codes[told] |= found
                    refusals.setdefault(told, operation["responses"].pop(status))
            for status, response in refusals.items():
                named = {"properties": {"code": {"type": "string", "enum": sorted(codes[status])}}}
                told_as = {"allOf": [reference("OpenAIError"), {"properties": {"error": named}}]}
                operation["responses"][status] = response | {"content": {"application/json": {"schema": told_as}}}


def _relayed(operation: JsonObject) -> JsonObject:
    """The operation with what the gateway itself may answer: too large, too late, service down."""
    of_bodies = [PayloadTooLarge, SlowBody] if "requestBody" in operation else []
    return {**operation, "responses": with_problems(operation["responses"], UpstreamUnavailable, *of_bodies)}


def _renamed(node: Any, renamed: dict[str, str]) -> Any:
    """A copy of `node` whose references follow `renamed`."""
    prefix = "#/components/schemas/"
    if isinstance(node, dict):
        return {
            key: prefix + renamed.get(value.removeprefix(prefix), value.removeprefix(prefix))
            if key == "$ref" and isinstance(value, str)
            else _renamed(value, renamed)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_renamed(value, renamed) for value in node]
    return node


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value.rsplit("/", 1)[-1]
            else:
                yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def _drop_unused(schemas: JsonObject, document: JsonObject) -> None:
    """Take away schemas that only operations use which are not public."""
    used: set[str] = set()
    waiting = set(_references(document["paths"])) | set(_references(document.get("webhooks", {})))
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting |= set(_references(schemas.get(name, {}))) - used
    for name in set(schemas) - used:
        del schemas[name]
