"""Which codes a service answers with, by status, for its API's description."""

import importlib
import pkgutil
from collections import defaultdict
from collections.abc import Iterator

from docuchat_common.errors import DocuChatError
from docuchat_common.http.problems import status_of


def error_classes(*packages: str) -> Iterator[type[DocuChatError]]:
    """Every error that modules of these packages define with a code of its own; loads the modules."""
    for name in packages:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith("__main__") and ".migrations" not in module.name:
                importlib.import_module(module.name)
    waiting = list(DocuChatError.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if "code" in vars(kind) and kind.__module__.split(".", 1)[0] in packages:
            yield kind


def codes_by_status(*packages: str) -> dict[str, list[str]]:
    """The codes of `error_classes` by HTTP status."""
    codes: defaultdict[str, set[str]] = defaultdict(set)
    for kind in error_classes(*packages):
        codes[str(status_of(kind()))].add(kind.code)
    return {status: sorted(found) for status, found in sorted(codes.items())}
