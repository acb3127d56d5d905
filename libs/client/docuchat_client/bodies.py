"""What goes out in a request, and comes back in an answer."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from docuchat_client.errors import UnexpectedAnswer

M = TypeVar("M", bound=BaseModel)
Progress = Callable[[int, int], None]


def parsed(model: type[M], value: Any, address: str) -> M:
    """`value`, which `address` answered, as a `model`. Raises UnexpectedAnswer."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        message = f"What {address} answered is no {model.__name__}: it is not a DocuChat, or not of this client's age."
        raise UnexpectedAnswer(message) from error


def question_body(
    message: str,
    *,
    chat_id: UUID | str | None = None,
    session_id: str | int | None = None,
    model: str | None = None,
    document_ids: Sequence[UUID | str] | None = None,
    collection_id: UUID | str | None = None,
    chatbot_id: UUID | str | None = None,
    attachments: Sequence[UUID | str] = (),
    parent_id: UUID | str | None = None,
) -> dict[str, Any]:
    """A question to the own documents, or to a chatbot."""
    return given(
        message=message,
        chat_id=chat_id,
        session_id=session_id,
        model=model,
        documents=document_ids,
        collection_id=collection_id,
        chatbot_id=chatbot_id,
        attachments=attachments or None,
        parent_id=parent_id,
    )


def provider_body(
    base_url: str | None,
    api_key: str | None,
    models: Sequence[str | Mapping[str, Any]] | None,
    auth: str | None,
    query: Mapping[str, str] | None,
    enabled: bool | None,
) -> dict[str, Any]:
    """A provider of models, or what is to be different of one; a model may be its name alone."""
    body = given(base_url=base_url, api_key=api_key, auth=auth, enabled=enabled)
    if models is not None:
        body["models"] = [{"name": one} if isinstance(one, str) else dict(one) for one in models]
    if query is not None:
        body["query"] = dict(query)
    return body


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None, ids as text."""
    return {name: _plain(value) for name, value in fields.items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


class ReportingFile(io.RawIOBase):
    """A file that tells how far it has been read."""

    def __init__(self, file: BinaryIO, size: int, on_progress: Progress | None) -> None:
        super().__init__()
        self._file, self._size, self._on_progress = file, size, on_progress

    def rewound(self) -> Self:
        self._file.seek(0)
        return self

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        if self._on_progress is not None:
            self._on_progress(self._file.tell(), self._size)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
