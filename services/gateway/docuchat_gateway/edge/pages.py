"""Pages that mails lead to, so that a person without a front end gets on: accept an invitation, set a new password."""

from importlib.resources import files as package_files
from typing import Final

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles

from docuchat_gateway.edge.security_headers import ASSETS_OF_PAGES, PAGES

_STATIC: Final = str(package_files("docuchat_gateway") / "static")

router = APIRouter(include_in_schema=False)


def _page(name: str) -> None:
    @router.get(name)
    async def page() -> FileResponse:
        return FileResponse(f"{_STATIC}{name}.html", headers={"Cache-Control": "no-cache"})


for _name in PAGES:
    _page(_name)


def mount_pages(app: FastAPI) -> None:
    """Serve what the pages load."""
    app.mount(ASSETS_OF_PAGES, StaticFiles(directory=_STATIC), name="pages")
