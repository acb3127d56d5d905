"""The application that uvicorn runs: health, metrics and dead letters, with the worker in its lifespan."""

from fastapi import FastAPI

from docuchat_common.http.app import create_service_app
from docuchat_common.http.dead_letters import router
from docuchat_ingest.bootstrap import open_container
from docuchat_ingest.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    return create_service_app(settings, title="DocuChat ingest worker", routers=[router], open_container=open_container)
