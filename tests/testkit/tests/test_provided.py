"""What routes are given is in the container of their service, and is what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from importlib import import_module
from typing import Any, get_type_hints

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts


def given(dependant: Dependant) -> Iterator[tuple[str, Callable[..., Any], type]]:
    """Each name of the container's that a route asks for, who asks for it, and as what."""
    for needed in dependant.dependencies:
        if (name := getattr(needed.call, "provided", None)) is not None and dependant.call is not None:
            yield name, dependant.call, get_type_hints(dependant.call)[needed.name]
        yield from given(needed)


@pytest.mark.parametrize("service", ["auth", "chat", "gateway", "ingest", "usage"])
def test_a_route_is_given_what_it_says(service: str) -> None:
    settings = import_module(f"docuchat_{service}.settings").Settings.model_construct(frontend_origin="")
    app = import_module(f"docuchat_{service}.app").create_app(settings)
    container = import_module(f"docuchat_{service}.bootstrap").Container
    routes = [route.dependant for route in iter_route_contexts(app.routes) if hasattr(route, "dependant")]
    asked = [one for route in routes for one in given(route)]
    assert asked
    for name, by, kind in asked:
        held = reduce(lambda owner, part: get_type_hints(owner)[part], name.split("."), container)
        assert held is kind or issubclass(held, kind), f"{by.__module__}.{by.__qualname__} takes {name} for a {kind}"
