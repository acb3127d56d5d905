"""The HTTP application."""

from fastapi import FastAPI, Request
from starlette.responses import Response

from docuchat_auth.bootstrap import open_container
from docuchat_auth.codes.routes import router as codes
from docuchat_auth.operators.routes import door as operator_door
from docuchat_auth.operators.routes import router as operators
from docuchat_auth.sessions.routes import router as sessions
from docuchat_auth.settings import Settings
from docuchat_auth.signing_keys.routes import router as signing_keys
from docuchat_auth.users.routes import router as users
from docuchat_common.http.app import create_service_app
from docuchat_common.http.identity import MissingTenant
from docuchat_common.http.problems import problem_response


def create_app(settings: Settings) -> FastAPI:
    """The application for these settings; its lifespan opens and closes everything."""
    routers = [codes, sessions, users, signing_keys, operator_door, operators]
    app = create_service_app(settings, title="DocuChat auth", routers=routers, open_container=open_container)
    # a request that lacks its tenant is malformed (400), unlike a body whose values are wrong (422)
    app.add_exception_handler(MissingTenant, _on_missing_tenant)
    return app


async def _on_missing_tenant(request: Request, error: Exception) -> Response:
    return problem_response(400, MissingTenant.code, str(error), request_id=request.scope.get("request_id"))
