"""Every error code of the product, out of all packages; `python -m docuchat_testkit.error_codes` writes the list."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docuchat_common.http
from docuchat_common.errors import DocuChatError
from docuchat_common.http.problems import HTTP_CODES, status_of

LIST = Path(docuchat_common.http.__file__).with_name("error_codes.json")
_NOT_IMPORTED = ("__main__", ".migrations", "docuchat_testkit", "docuchat_local")


def error_classes() -> list[type[DocuChatError]]:
    """Every class of expected error in any package of the product."""
    for package in pkgutil.iter_modules():
        if package.name.startswith("docuchat_") and not package.name.startswith(_NOT_IMPORTED):
            folder = importlib.import_module(package.name).__path__
            for module in pkgutil.walk_packages(folder, f"{package.name}."):
                if not any(part in module.name for part in _NOT_IMPORTED):
                    importlib.import_module(module.name)
    return sorted(_below(DocuChatError), key=lambda kind: (kind.code, kind.__module__))


def error_codes() -> list[dict[str, Any]]:
    """Code, status and message of every error, in the order of the codes."""
    codes = {code: {"code": code, "status": status, "detail": detail} for code, (status, detail) in HTTP_CODES.items()}
    for kind in error_classes():
        detail = inspect.cleandoc(kind.__doc__ or "").split("\n", 1)[0]
        codes[kind.code] = {"code": kind.code, "status": status_of(kind()), "detail": detail}
    return [codes[code] for code in sorted(codes)]


def _below(kind: type[DocuChatError]) -> Iterator[type[DocuChatError]]:
    for child in kind.__subclasses__():
        if not child.__name__.startswith("_") and child.__module__.startswith("docuchat_"):
            yield child
        yield from _below(child)


if __name__ == "__main__":
    LIST.write_text(json.dumps(error_codes(), indent=1, ensure_ascii=False) + "\n")
