"""`/livez` (the process turns), `/readyz` and `/healthz` (what it needs answers), `/metrics` (Prometheus)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import orjson
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

Check = Callable[[], Awaitable[None]]
"""Returns when the dependency is usable, raises when it is not."""


def health_router(*, public: bool = False) -> APIRouter:
    """Health routes; the container in `app.state` has the `checks`. `public` puts the routes into the schema."""
    router = APIRouter(tags=["health"], include_in_schema=public)

    @router.get("/livez", summary="The process is alive")
    async def livez() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz", summary="The service and what it needs can work")
    async def readyz(request: Request) -> Response:
        return await _report(request)

    @router.get("/healthz", summary="Health of the service and what it needs")
    async def healthz(request: Request) -> Response:
        return await _report(request)

    @router.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


async def _report(request: Request) -> Response:
    checks: Mapping[str, Check] = request.app.state.container.checks

    async def ask(check: Check) -> str:
        try:
            await asyncio.wait_for(check(), timeout=2)
        except Exception as error:  # noqa: BLE001 - any failure means: not usable
            return f"failing ({type(error).__name__})"
        return "ok"

    results = dict(zip(checks, await asyncio.gather(*map(ask, checks.values())), strict=True))
    healthy = all(result == "ok" for result in results.values())
    body = {"status": "ok" if healthy else "degraded", "checks": results}
    headers = {"Cache-Control": "no-store"} if healthy else {"Cache-Control": "no-store", "Retry-After": "2"}
    return Response(
        orjson.dumps(body), status_code=200 if healthy else 503, media_type="application/json", headers=headers
    )
