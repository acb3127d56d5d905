"""`/livez` (the process turns), `/readyz` (it can serve), `/healthz` (how all parts are), `/metrics` (Prometheus).

Ready means: what a request needs answers. What the service works on without, such as the broker where there is an
outbox, is a line in `/healthz` and a metric.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Literal

import orjson
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from pydantic import BaseModel, Field
from starlette.responses import Response

from docuchat_common.errors import DocuChatError
from docuchat_common.http.permissions import public as for_everybody

Check = Callable[[], Awaitable[None]]
"""Returns when the part is usable, raises when it is not."""

LOOK_EVERY: Final = timedelta(seconds=10)
_PATIENCE: Final = 2.0

_up = Gauge("docuchat_part_up", "Whether a part that this service uses answers.", ["part"])


class Health(BaseModel):
    """How the parts are."""

    status: Literal["ok", "degraded"]
    checks: dict[str, str] = Field(description="Each part that is used: `ok`, or how it fails.")


def health_router(*, public: bool = False) -> APIRouter:
    """Health routes; the container in `app.state` has `checks`, and `watched` for what is not needed.

    `public` puts the routes into the schema.
    """
    router = APIRouter(tags=["health"], include_in_schema=public)

    @router.get("/livez", summary="The process is alive")
    @for_everybody
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    reports: dict[str, Any] = {
        "response_model": Health,
        "responses": {503: {"model": Health, "description": "Something that a request needs does not answer"}},
    }

    @router.get("/readyz", summary="What a request needs can work", **reports)
    @for_everybody
    async def readyz(request: Request) -> Response:
        needed = await ask_parts(request.app.state.container.checks)
        return _report(needed, {})

    @router.get("/healthz", summary="Health of every part", **reports)
    @for_everybody
    async def healthz(request: Request) -> Response:
        container = request.app.state.container
        return _report(*await asyncio.gather(ask_parts(container.checks), ask_parts(watched_by(container))))

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


def watched_by(container: Any) -> Mapping[str, Check]:
    """The checks of parts that the container's service works on without."""
    watched: Mapping[str, Check] = getattr(container, "watched", {})
    return watched


async def ask_parts(checks: Mapping[str, Check]) -> dict[str, str]:
    """How each part is: `ok`, or `failing` and why; also as a metric."""

    async def ask(part: str, check: Check) -> str:
        try:
            await asyncio.wait_for(check(), timeout=_PATIENCE)
        except Exception as error:  # noqa: BLE001 - any failure means: not usable
            _up.labels(part).set(0)
            return f"failing ({_reason(error)})"
        _up.labels(part).set(1)
        return "ok"

    return dict(zip(checks, await asyncio.gather(*(ask(*part) for part in checks.items())), strict=True))


def _reason(error: Exception) -> str:
    """For people; of an error that is none of ours only its kind, since its words could hold anything."""
    if isinstance(error, DocuChatError):
        return error.detail.rstrip(".")
    return f"no answer within {_PATIENCE:.0f} s" if isinstance(error, TimeoutError) else type(error).__name__


def _report(needed: dict[str, str], others: dict[str, str]) -> Response:
    ready = all(state == "ok" for state in needed.values())
    parts = {**needed, **others}
    healthy = all(state == "ok" for state in parts.values())
    headers = {"Cache-Control": "no-store"} if ready else {"Cache-Control": "no-store", "Retry-After": "2"}
    return Response(
        orjson.dumps({"status": "ok" if healthy else "degraded", "checks": parts}),
        status_code=200 if ready else 503,
        media_type="application/json",
        headers=headers,
    )
