"""One OpenAPI document of the whole public surface: the gateway's own routes and the services' committed snapshots.

Services import no service, so their documents are snapshots in `openapi/`, made by `scripts/refresh_openapi.py`; a test
refuses a stale one.
"""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import orjson

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
    passed_on = {(row.path, method) for row in TABLE for method in row.methods}
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
                if (path, method.upper()) in passed_on:
                    document["paths"].setdefault(path, {})[method] = _with_own_refusals(_renamed(operation, renamed))
    document["paths"] = dict(sorted(document["paths"].items()))
    _drop_unused(schemas, document)
    return dict(document)


def _with_own_refusals(operation: JsonObject) -> JsonObject:
    """The operation with what the gateway itself may answer: too large, too many, service down."""
    refusals = problem_responses(429, 503, *([413] if "requestBody" in operation else []))
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
    waiting = set(_references(document["paths"]))
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting |= set(_references(schemas.get(name, {}))) - used
    for name in set(schemas) - used:
        del schemas[name]
