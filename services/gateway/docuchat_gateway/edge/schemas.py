"""What goes over the wire."""

from pydantic import BaseModel


class Links(BaseModel):
    """Where to go from here."""

    docs: str = "/docs"
    redoc: str = "/redoc"
    openapi: str = "/openapi.json"
    health: str = "/healthz"
    websocket: str = "/ws/chat"


class Home(BaseModel):
    """What this server is."""

    name: str = "DocuChat"
    version: str
    links: Links = Links()
