"""The application factory that every service calls."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from fastapi import APIRouter, FastAPI
from fastapi.encoders import jsonable_encoder
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import TypeAdapter

from docuchat_common.background import Background
from docuchat_common.http.health import LOOK_EVERY, Check, ask_parts, health_router, watched_by
from docuchat_common.http.middleware import RequestContext
from docuchat_common.http.permissions import extensions_of
from docuchat_common.http.problems import Problem, install_problem_handlers
from docuchat_common.http.refusals import WRITE_EVERY, Refusals


class Container(Protocol):
    """What a service's composition root yields; services add their own fields."""

    @property
    def checks(self) -> "dict[str, Check]":
        """Readiness checks by the part's name; an optional `watched` has those of parts that no request needs."""


S = TypeVar("S")


def create_service_app(
    settings: S,
    *,
    title: str,
    routers: Sequence[APIRouter],
    open_container: Callable[[S], AbstractAsyncContextManager[Any]],
    description: str = "",
    streamed: Mapping[str, TypeAdapter[Any]] = MappingProxyType({}),
    **fastapi_options: Any,
) -> FastAPI:
    """A FastAPI application whose lifespan is the container's; routes reach it as `request.app.state.container`.

    `streamed`: the events of streams by the names under which the document has their schemas; FastAPI knows the parts
    of JSON bodies alone.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_container(settings) as container, Background() as background:
            app.state.container = container
            checks = {**container.checks, **watched_by(container)}
            background.every("health", LOOK_EVERY, lambda: ask_parts(checks))
            refusals: Refusals | None = getattr(container, "refusals", None)
            if refusals is not None:
                background.every("refusals", WRITE_EVERY, refusals.write)
            yield

    options: dict[str, Any] = {
        "docs_url": None,
        "redoc_url": None,
        "redirect_slashes": False,  # a redirect would believe the Host header
        "generate_unique_id_function": _operation_id,
        **fastapi_options,
    }
    app = FastAPI(
        title=title, description=description, version=version("docuchat-common"), lifespan=lifespan, **options
    )
    install_problem_handlers(app)
    for router in routers:
        app.include_router(router)
    app.include_router(health_router())
    app.add_middleware(RequestContext)

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(problem.pop("$defs", {}))
            schemas["Problem"] = problem
            _add_streamed(schemas, streamed)
            _add_permissions(app, schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _add_streamed(schemas: dict[str, Any], streamed: Mapping[str, TypeAdapter[Any]]) -> None:
    for name, adapter in streamed.items():
        schema = adapter.json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
        # written as FastAPI writes its own: without a default that is null
        parts = jsonable_encoder(schema.pop("$defs", {}) | {name: schema}, exclude_none=True)
        if others := sorted(part for part in parts if schemas.get(part, parts[part]) != parts[part]):
            raise ValueError(f"the document has other schemas of these names: {others}")
        schemas.update(parts)


def _add_permissions(app: FastAPI, schema: dict[str, Any]) -> None:
    for route in iter_route_contexts(app.routes):
        if getattr(route, "include_in_schema", False) and (told := extensions_of(route.dependant)):
            for method in route.methods or ():
                schema["paths"][route.path_format][method.lower()] |= told


def _operation_id(route: APIRoute) -> str:
    """`list_files` is `listFiles`: what generated clients call their methods."""
    first, *rest = route.name.split("_")
    return first + "".join(word.capitalize() for word in rest)
