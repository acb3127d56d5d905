"""A multipart/form-data body, read as a stream: each part is handed on while it arrives, nothing is kept."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from docuchat_gateway.documents.domain import FormField, FormFile, FormPart
from docuchat_gateway.documents.errors import MalformedForm, NotMultipart

MAX_FIELD_BYTES = 16 * 1024
MAX_PARTS = 32


@dataclass(frozen=True, slots=True)
class _Begin:
    name: str
    filename: str | None


@dataclass(frozen=True, slots=True)
class _Data:
    data: bytes


@dataclass(frozen=True, slots=True)
class _End:
    pass


class _Ended:
    """The closing boundary."""


class MultipartForm:
    """The parts of one body, in the order in which they come."""

    def __init__(self, content_type: str | None, body: AsyncIterator[bytes]) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind.lower() != b"multipart/form-data":
            raise NotMultipart
        if not boundary:
            raise MalformedForm("The Content-Type has no boundary; let your HTTP library set this header.")
        self._body = body
        self._tokens: deque[_Begin | _Data | _End | _Ended] = deque()
        self._header_name = b""
        self._header_value = b""
        self._disposition = b""
        self._parts = 0
        self._in_part = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": self._on_header_field,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": self._on_part_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )
        except FormParserError as error:
            raise MalformedForm(str(error)) from error

    async def parts(self) -> AsyncIterator[FormPart]:
        """Every part; a file's chunks that nobody read are skipped before the next part is given."""
        while True:
            token = await self._next()
            match token:
                case _Ended():
                    return
                case _Begin(name, None):
                    yield FormField(name, await self._text(name))
                case _Begin(name, str(filename)):
                    chunks = self._chunks()
                    yield FormFile(name, filename, chunks)
                    async for _ in chunks:
                        pass

    async def _chunks(self) -> AsyncIterator[bytes]:
        while isinstance(token := await self._next(), _Data):
            yield token.data

    async def _text(self, name: str) -> str:
        value = bytearray()
        async for chunk in self._chunks():
            value += chunk
            if len(value) > MAX_FIELD_BYTES:
                raise MalformedForm(f"The field {name!r} is longer than {MAX_FIELD_BYTES} bytes.")
        try:
            return value.decode()
        except UnicodeDecodeError as error:
            raise MalformedForm(f"The field {name!r} is not UTF-8.") from error

    async def _next(self) -> _Begin | _Data | _End | _Ended:
        while not self._tokens:
            chunk = await anext(self._body, b"")
            if not chunk:
                raise MalformedForm("The body ends before its closing boundary.")
            try:
                self._parser.write(chunk)
            except FormParserError as error:
                raise MalformedForm("The body does not follow multipart/form-data.") from error
        return self._tokens.popleft()

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise MalformedForm(f"The form has more than {MAX_PARTS} parts.")
        self._header_name = self._header_value = self._disposition = b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            self._disposition = self._header_value
        self._header_name = self._header_value = b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._disposition)
        name = options.get(b"name")
        if name is None:
            raise MalformedForm("A part of the form has no name.")
        filename = options.get(b"filename")
        self._tokens.append(
            _Begin(name.decode(errors="replace"), None if filename is None else filename.decode(errors="replace"))
        )

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        self._tokens.append(_Data(data[start:end]))

    def _on_part_end(self) -> None:
        self._tokens.append(_End())

    def _on_end(self) -> None:
        self._tokens.append(_Ended())
