"""A service that answers by the OpenAPI document of the gateway, and refuses what is not in it."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from typing import Any

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from docuchat_gateway.app import create_app
from docuchat_gateway.settings import Settings

from .calls import PUBLISHABLE
from .conftest import CHAT, NOW, Service, frames, problem, sse

_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip
Answers = list[Callable[[Request], Awaitable[Response]]]


@cache
def openapi() -> dict[str, Any]:
    """The document that the gateway serves."""
    document: dict[str, Any] = create_app(Settings.model_construct(frontend_origin="")).openapi()
    return document


@cache
def _operations() -> list[tuple[str, re.Pattern[str], dict[str, Any]]]:
    return [
        (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), operation)
        for path, operations in openapi()["paths"].items()
        for method, operation in operations.items()
        if method != "parameters"
    ]


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference names."""
    if "$ref" not in schema:
        return schema
    named: dict[str, Any] = openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return named


def example(schema: dict[str, Any]) -> Any:
    """A value of a schema: all members, one item in each list."""
    schema = resolved(schema)
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return example(choices[0])
    if "enum" in schema or "const" in schema:
        return schema.get("const", schema.get("enum", [None])[0])
    if "properties" in schema:
        members = schema["properties"].items()
        return {name: None if name in ("next_cursor", "next_after") else example(member) for name, member in members}
    if "items" in schema:
        return [example(schema["items"])]
    if schema.get("type") == "string":
        return {"uuid": CHAT, "date-time": NOW, "date": NOW[:10]}.get(schema.get("format", ""), "text")
    return {"integer": 1, "number": 1, "boolean": True, "object": {}}.get(schema.get("type", ""))


def faults(sent: Any, schema: dict[str, Any], where: str = "body") -> Iterator[str]:
    """What of a request's body the document does not have."""
    schema = resolved(schema)
    if choices := schema.get("anyOf"):
        found = [list(faults(sent, choice, where)) for choice in choices]
        yield from min(found, key=len)
    elif (kind := schema.get("type")) is not None and not isinstance(sent, _TYPES[kind]):
        yield f"{where} is no {kind}"
    elif ("enum" in schema and sent not in schema["enum"]) or ("const" in schema and sent != schema["const"]):
        yield f"{where} has no {sent!r}"
    elif isinstance(sent, dict) and "properties" in schema:
        yield from (f"{where}.{name} is missing" for name in schema.get("required", ()) if name not in sent)
        for name, value in sent.items():
            if name in schema["properties"]:
                yield from faults(value, schema["properties"][name], f"{where}.{name}")
            else:
                yield f"{where} has no {name}"
    elif isinstance(sent, list):
        for item in sent:
            yield from faults(item, schema["items"], f"{where}[]")


class Documented(dict[tuple[str, str], Answers]):
    """Answers to every request that the document has; `asked` are those that came."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str, Any]] = []
        self.said: dict[str, set[str]] = {}
        """By operation, the parameters of the address and the members of the body that came."""

    @classmethod
    def of(cls, service: Service) -> Documented:
        """Have the service answer by the document."""
        service.answers = answers = cls()
        service.good_tokens.add("text")  # what the document's example of a token is
        public = f"/v1/public/chatbots/{PUBLISHABLE}"
        service.open_paths.update((public, f"{public}/visitors", "/v1/invitations/accept", "/v1/operator/token"))
        return answers

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key) or [self.answer]

    async def answer(self, request: Request) -> Response:
        method, path = request.method, request.url.path
        found = next((o for m, pattern, o in _operations() if m == method and pattern.fullmatch(path)), None)
        if found is None:
            return problem(400, "undocumented", f"There is no {method} {path} in the document.")
        known = {one["name"] for one in found.get("parameters", ()) if one["in"] == "query"}
        if unknown := set(request.query_params) - known:
            return problem(400, "undocumented", f"{method} {path} has no {unknown}.")
        body, wrong = await self._body_of(request, found)
        if wrong:
            return problem(400, "undocumented", f"{method} {path}: {wrong}")
        said = self.said.setdefault(found["operationId"], set())
        said |= set(request.query_params) | (set(body) if isinstance(body, dict) else set())
        self.asked.append((method, path + (f"?{request.url.query}" if request.url.query else ""), body))
        status, answer = next((s, a) for s, a in found["responses"].items() if s.startswith("2"))
        if "text/event-stream" in request.headers.get("accept", ""):
            return Response(sse(frames()), media_type="text/event-stream")
        if isinstance(body, dict) and body.get("detach"):
            status, answer = "202", found["responses"]["202"]
        content = answer.get("content", {}).get("application/json")
        return JSONResponse(example(content["schema"]), int(status)) if content else Response(status_code=int(status))

    async def _body_of(self, request: Request, operation: dict[str, Any]) -> tuple[Any, str]:
        """What was sent, and what is wrong with it."""
        content = operation.get("requestBody", {}).get("content", {})
        if request.headers.get("content-type", "").startswith("multipart/"):
            async with request.form() as form:
                sent = {name: "" if isinstance(part, UploadFile) else part for name, part in form.items()}
            unknown = set(sent) - set(content["multipart/form-data"]["schema"]["properties"])
            return sent, f"has no {unknown}" if unknown else ""
        raw = await request.body()
        if not raw:
            return None, ""
        sent = json.loads(raw)
        return sent, "; ".join(faults(sent, content["application/json"]["schema"]))
