"""`/`, and the documentation pages with their scripts from our own server, so that they work without internet."""

from importlib.metadata import version
from importlib.resources import files as package_files

from fastapi import APIRouter, FastAPI
from fastapi.openapi.docs import get_redoc_html, get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from docuchat_common.http.permissions import public
from docuchat_gateway.edge.schemas import Home

ASSETS = "/docs/assets"

router = APIRouter(tags=["home"])


@router.get("/", summary="What this server is")
@public
async def home() -> Home:
    return Home(version=version("docuchat-gateway"))


@router.get("/docs", include_in_schema=False)
async def swagger() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title="DocuChat API",
        swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
        swagger_css_url=f"{ASSETS}/swagger-ui.css",
        swagger_favicon_url=f"{ASSETS}/favicon.png",
    )


@router.get("/redoc", include_in_schema=False)
async def redoc() -> HTMLResponse:
    return get_redoc_html(
        openapi_url="/openapi.json",
        title="DocuChat API",
        redoc_js_url=f"{ASSETS}/redoc.standalone.js",
        redoc_favicon_url=f"{ASSETS}/favicon.png",
        with_google_fonts=False,
    )


def mount_assets(app: FastAPI) -> None:
    """Serve the scripts of the documentation pages, which the `fastapi-offline` wheel carries."""
    app.mount(ASSETS, StaticFiles(directory=str(package_files("fastapi_offline") / "static")), name="docs-assets")
