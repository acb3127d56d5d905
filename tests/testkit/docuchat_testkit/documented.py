"""Every refusal that a test meets stands in the API's description, under its operation, with its code."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from docuchat_common.http.problems import PROBLEM_JSON, codes_of

_NO_OPERATION = {405, 500}


class Documented:
    """Looks at answers; give `of_httpx` or `of_aiohttp` to a test's client."""

    def __init__(self, document: dict[str, Any]) -> None:
        # literal paths first: they are asked for before templates of the same shape
        templates = sorted(document["paths"], key=lambda path: path.count("{"))
        self._items = [(re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)), document["paths"][path]) for path in templates]

    def check(self, method: str, path: str, status: int, body: bytes) -> None:
        """Fail for a problem that the operation does not name."""
        operation = next((item.get(method.lower()) for pattern, item in self._items if pattern.fullmatch(path)), None)
        if operation is None or status in _NO_OPERATION:
            return
        code = json.loads(body)["code"]
        named = codes_of(operation["responses"].get(str(status), {}))
        assert code in named, f"{method} {path} answers {status} {code}, of which its description knows {sorted(named)}"

    async def of_httpx(self, response: Any) -> None:
        """A hook of an httpx client's responses."""
        if response.headers.get("content-type") == PROBLEM_JSON:
            self.check(response.request.method, response.request.url.path, response.status_code, await response.aread())

    async def of_aiohttp(self, response: Any) -> None:
        """An aiohttp session's `raise_for_status`."""
        if response.content_type == PROBLEM_JSON:
            self.check(response.method, response.url.path, response.status, await response.read())


@cache
def documented(create_app: Callable[[Any], Any], settings: type[Any], **more: str) -> Documented:
    """By the description of a service's application, which takes long to make and is the same in all tests."""
    return Documented(create_app(settings.model_construct(**more)).openapi())
