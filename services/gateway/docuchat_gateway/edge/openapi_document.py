"""One OpenAPI document of the whole public surface: the gateway's own routes and the services' committed snapshots.

Services import no service, so their documents are snapshots in `openapi/`, made by `scripts/refresh_openapi.py`; a test
refuses a stale one.
"""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import orjson

from docuchat_common.contracts.frames import frame_schemas
from docuchat_common.http.error_codes import codes_by_status
from docuchat_common.http.problems import problem_responses
from docuchat_gateway.edge.table import TABLE

SERVICES: Final = ("auth", "chat", "usage")

JsonObject = dict[str, Any]


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
    for item in document["paths"].values():
        for operation in item.values():
            _name_codes(operation, _OWN_CODES)
    rows = {(row.path, method): row for row in TABLE for method in row.methods}
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
                    relayed = _with_own_refusals(_renamed(operation, renamed))
                    _name_codes(relayed, _joined(snapshot.get("x-error-codes", {}), _EDGE_CODES))
                    document["paths"].setdefault(path, {})[method] = relayed
    document["paths"] = dict(sorted(document["paths"].items()))
    _drop_unused(schemas, document)
    return dict(document)


def describe(document: JsonObject) -> JsonObject:
    """`document` with what belongs to the whole: servers, tags, who may call what, and the headers of refusals."""
    _add_frames(document, document["components"]["schemas"])
    document["servers"] = [{"url": "/", "description": "The gateway that serves this document"}]
    document["info"] |= {
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        "contact": {"name": "DocuChat", "url": "https://github.com/docuchat"},
    }
    document["tags"] = [{"name": name, "description": description} for name, _, description in _TAGS]
    public = {(row.path, method.lower()) for row in TABLE for method in row.methods if row.audience == "public"}
    for path, item in document["paths"].items():
        tag = next((name for name, prefixes, _ in _TAGS if path.startswith(prefixes)), _TAGS[0][0])
        for method, operation in item.items():
            operation["tags"] = [tag]
            operation.setdefault("description", f"{operation['summary']}.")
            if (path, method) in public:
                operation["security"] = []
                operation["parameters"] = [*operation.get("parameters", []), *_missing_tenant_header(operation, path)]
            operation.setdefault("security", [])
            operation["responses"].setdefault("408", {"description": "The head of the request came too slowly."})
            for status, response in operation["responses"].items():
                if status in {"429", "503"}:
                    response["headers"] = {"Retry-After": _RETRY_AFTER, **response.get("headers", {})}
    return document


_TAGS: Final = (
    ("system", ("/healthz", "/livez", "/readyz", "/.well-known"), "What this server is, and how it is."),
    ("operator", ("/v1/operator",), "For operators of the whole product, with an operator's token."),
    ("auth", ("/v1/auth",), "Signing in by a mailed code, and keeping signed in."),
    ("users", ("/v1/users",), "Who is signed in."),
    ("documents", ("/v1/files", "/v1/passages"), "Files, how far they have come, and their text."),
    ("chat", ("/v1/chat", "/v1/turns", "/v1/messages"), "Questions, streamed answers and conversations."),
    ("search", ("/v1/search",), "Passages without an answer."),
    ("usage", ("/v1/usage",), "What was used, what it cost and what is left."),
)
_RETRY_AFTER: Final = {
    "description": "Seconds after which to try again.",
    "schema": {"type": "integer", "minimum": 1},
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


_OWN_CODES: Final = codes_by_status("docuchat_gateway", "docuchat_common", "docuchat_knowledge")
_EDGE_CODES: Final = codes_by_status("docuchat_gateway")
_BY_PROTOCOL: Final = {"400": ["bad_request"], "416": ["range_unsatisfiable"]}
"""Codes of statuses that are no category of ours."""


def _joined(*tables: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        status: sorted({code for table in tables for code in table.get(status, ())})
        for status in {status for table in tables for status in table}
    }


def _name_codes(operation: JsonObject, codes: dict[str, list[str]]) -> None:
    """Say with which codes each refusal may come."""
    for status, response in operation["responses"].items():
        media = response.get("content", {}).get("application/problem+json")
        known = codes.get(status) or _BY_PROTOCOL.get(status)
        if media is not None and known:
            code = {"properties": {"code": {"type": "string", "enum": known}}}
            media["schema"] = {"allOf": [{"$ref": "#/components/schemas/Problem"}, code]}


def _add_frames(document: JsonObject, schemas: JsonObject) -> None:
    """The frames of the conversation, and where they stream over HTTP."""
    for name, schema in frame_schemas().items():
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
    for path, method in (("/v1/chat", "post"), ("/v1/turns/{turn_id}/events", "get")):
        answer = document["paths"].get(path, {}).get(method, {}).get("responses", {}).get("200", {})
        if "text/event-stream" in answer.get("content", {}):
            answer["content"]["text/event-stream"] = {"schema": _reference("ServerFrame")}
    document["webhooks"] = {
        "chatSocket": {
            "post": {
                "operationId": "chatSocket",
                "summary": "A message over `WS /ws/chat`",
                "description": "No webhook: OpenAPI has no place of its own for the messages of a socket.",
                "tags": ["chat"],
                "security": [],
                "requestBody": {"content": {"application/json": {"schema": _reference("ClientMessage")}}},
                "responses": {
                    "200": {
                        "description": "Frames, until the turn ends",
                        "content": {"application/json": {"schema": _reference("ServerFrame")}},
                    },
                    "4XX": {
                        "description": "A frame `error`",
                        "content": {"application/json": {"schema": _reference("ErrorFrame")}},
                    },
                },
            }
        }
    }


def _reference(name: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{name}"}


def _with_own_refusals(operation: JsonObject) -> JsonObject:
    """The operation with what the gateway itself may answer: too large, too late, too many, service down."""
    refusals = problem_responses(429, 503, *([408, 413] if "requestBody" in operation else []))
    own = {str(status): response for status, response in refusals.items()}
    return {**operation, "responses": {**own, **operation.get("responses", {})}}


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
