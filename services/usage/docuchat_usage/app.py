"""The application that uvicorn runs."""

from fastapi import FastAPI

from docuchat_common.http import dead_letters, exports
from docuchat_common.http.app import create_service_app
from docuchat_usage.bootstrap import open_container
from docuchat_usage.documents import routes as documents
from docuchat_usage.ledger import routes as ledger
from docuchat_usage.prices import routes as prices
from docuchat_usage.quotas import routes as quotas
from docuchat_usage.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """HTTP, consumer, relay and sweeps in one process."""
    routers = [
        ledger.router, prices.operator, prices.internal,
        quotas.operator, quotas.router, ledger.internal, documents.internal,
        dead_letters.router, exports.router,
    ]  # fmt: skip
    return create_service_app(settings, title="DocuChat usage", routers=routers, open_container=open_container)
