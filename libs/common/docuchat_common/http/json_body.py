"""Requests, read strictly: what Python's own parser lets through, no database and no provider takes.

What is wrong in a request costs no more than what is right: its body is bounded, and of the names that nobody knows
only a few are told.
"""

import re
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, Any, ClassVar, Final

import orjson
from fastapi import Request, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_flat_params
from fastapi.exceptions import RequestValidationError
from fastapi.params import Query
from fastapi.routing import APIRoute
from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from docuchat_common.acts import Act, acting
from docuchat_common.audit import EXTENSION, assert_told
from docuchat_common.db import Deadlocked
from docuchat_common.errors import (
    DocuChatError,
    Forbidden,
    InvalidInput,
    PayloadTooLarge,
    StorageFull,
    UpstreamUnavailable,
)
from docuchat_common.http.addresses import client_address
from docuchat_common.http.problems import with_problems
from docuchat_common.http.refusals import note_refusal
from docuchat_common.text import UNSAFE, one_line

SHORT_BODY: Final = 64 * 2**10
"""Bytes that are enough for anything but texts: a thousand ids have 40 KB."""
LONG_BODY: Final = 256 * 2**10
"""Bytes for a text: 16,000 characters beyond the basic plane, each escaped, have 192 KB."""
LONG_CONVERSATION: Final = 2**20
"""Bytes for all that was said so far, which some clients send with each question."""
MOST_UNKNOWN: Final = 20
LONGEST_DEVICE: Final = 120
_NUMBER: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")


class StrictBody(BaseModel):
    """A body in which nothing may stand that nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _name(text: str) -> str:
    if UNSAFE.search(text):
        raise ValueError("may hold neither control characters nor marks that reorder text")
    if not text.strip():
        raise ValueError("is empty")
    return text


def _number(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        raise ValueError("must be a number")
    return value


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_name)]
"""What a thing is called, in one line."""
Whole = Annotated[int, Field(strict=True)]
"""A whole number: not `true`, which Python takes for 1."""
AS_NUMBER: Final = BeforeValidator(_number)
"""For a Decimal: a number, or its ASCII digits as a text."""
Flag = Annotated[bool, Field(strict=True)]
"""`true` or `false`: neither 1 nor "yes"."""


async def read_bounded(request: Request, limit: int) -> bytes | None:
    """The whole body, None when there is none; PayloadTooLarge as soon as it is longer than `limit` bytes."""
    too_large = PayloadTooLarge(f"The request is larger than {limit} bytes.", max_bytes=limit)
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_large
    if not declared and "transfer-encoding" not in request.headers:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large
    return bytes(body)


def without_surplus(fields: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """`fields` with at most a few that `model` does not know: each would become an error of its own."""
    known = _names_of(model)
    unknown = set(islice((name for name in fields if name not in known), MOST_UNKNOWN))
    return {name: value for name, value in fields.items() if name in known or name in unknown}


_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _StrictRequest(Request):
    model: type[BaseModel] | None = None

    async def read(self, limit: int) -> None:
        self._body = await read_bounded(self, limit) or b""

    async def json(self) -> Any:
        parsed = orjson.loads(await self.body())
        return without_surplus(parsed, self.model) if self.model and isinstance(parsed, dict) else parsed


class JsonRoute(APIRoute):
    """A route with a known query, whose body, if any, is short JSON of RFC 8259: UTF-8, no NaN, no lone surrogates.

    Anything else is a 422, and a 413 what is longer than `MAX_BYTES`.
    """

    MAX_BYTES: ClassVar[int] = SHORT_BODY

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        self.act: str | None = getattr(endpoint, "audited", None)
        if self.act is not None:
            options["openapi_extra"] = {**(options.get("openapi_extra") or {}), EXTENSION: self.act}
        super().__init__(path, endpoint, **options)
        kinds = {InvalidInput, UpstreamUnavailable, *_raised_by(self.dependant)}
        if self.body_field is not None:
            kinds.add(PayloadTooLarge)
        if self.methods != {"GET"}:
            kinds |= {Deadlocked, StorageFull}
        self.responses = with_problems(self.responses, *kinds)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's own, on a request that reads strictly."""
        handle = super().get_route_handler()
        parameters = frozenset(
            field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)
        )
        has_body = self.body_field is not None
        body_type = self.body_field.field_info.annotation if self.body_field is not None else None
        model = body_type if isinstance(body_type, type) and issubclass(body_type, BaseModel) else None

        async def strictly(request: Request) -> Response:
            _refuse_unknown(request.query_params.keys() - parameters)
            strict = _StrictRequest(request.scope, request.receive)
            strict.model = model
            if has_body:
                await strict.read(self.MAX_BYTES)
            try:
                return await (handle(strict) if self.act is None else self._audited(strict, self.act, handle))
            except Forbidden:
                await note_refusal(strict, self.path_format)
                raise

        return strictly

    @staticmethod
    async def _audited(request: Request, name: str, handle: _Handler) -> Response:
        device = one_line(request.headers.get("user-agent", ""))[:LONGEST_DEVICE]
        with acting(Act(name, lambda: client_address(request), device)) as act:
            response = await handle(request)
        if response.status_code < 400:
            assert_told(act, request.app.state.container.settings.environment)
        return response


class TextRoute(JsonRoute):
    """A JSON route whose body has a text of some length."""

    MAX_BYTES = LONG_BODY


def _raised_by(dependant: Dependant) -> Iterator[type[DocuChatError]]:
    yield from getattr(dependant.call, "raises", ())
    for needed in dependant.dependencies:
        yield from _raised_by(needed)


def _refuse_unknown(names: Iterable[str]) -> None:
    problems = [
        {"type": "extra_forbidden", "loc": ("query", name), "msg": "there is no such parameter", "input": None}
        for name in islice(sorted(names), MOST_UNKNOWN)
    ]
    if problems:
        raise RequestValidationError(problems)


def _names_of(model: type[BaseModel]) -> set[str]:
    names = set(model.model_fields)
    for field in model.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names.update(choice for choice in field.validation_alias.choices if isinstance(choice, str))
        elif isinstance(field.validation_alias, str):
            names.add(field.validation_alias)
    return names
