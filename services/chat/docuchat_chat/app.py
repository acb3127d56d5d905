"""The application that uvicorn runs."""

from __future__ import annotations

from fastapi import FastAPI

from docuchat_chat.bootstrap import open_container
from docuchat_chat.routes import router
from docuchat_chat.settings import Settings
from docuchat_common.http.app import create_service_app


def create_app(settings: Settings) -> FastAPI:
    """HTTP, relay, board and sweep in one process."""
    return create_service_app(settings, title="DocuChat chat", routers=[router], open_container=open_container)
