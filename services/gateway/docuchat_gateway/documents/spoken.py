"""Which requests for files are told about in OpenAI's words.

Those that name a file as its clients do (`file-` before the id), those that name a purpose, and those that say of
themselves that they come from one of its clients, which ask for a list without any.
"""

from typing import Any, Final

from starlette.datastructures import QueryParams
from starlette.types import Scope

FILE_PATH: Final = "/v1/files/file-{document_id}"
FILE_CONTENT_PATH: Final = FILE_PATH + "/content"
_FILES: Final = "/v1/files"
_ONE_FILE: Final = FILE_PATH.partition("{")[0]
_CLIENT: Final = b"x-stainless-lang"
"""A header that OpenAI's clients send, each with the language that it is written in."""
_NAMED: Final = "docuchat.purpose_named"


def name_purpose(scope: Scope) -> None:
    """Note that the form of a request names a purpose."""
    scope[_NAMED] = True


def speaks_openai(scope: Scope) -> bool:
    """Whether a request, as far as it was read, is one of those."""
    path: str = scope["path"]
    if path != _FILES:
        return path.startswith(_ONE_FILE)
    named: Any = scope.get(_NAMED, False)
    return bool(named) or _comes_from_client(scope) or "purpose" in QueryParams(scope["query_string"])


def _comes_from_client(scope: Scope) -> bool:
    return any(name == _CLIENT for name, _ in scope["headers"])
