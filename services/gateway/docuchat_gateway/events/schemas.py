"""What goes over the wire."""

from pydantic import BaseModel, Field


class TicketView(BaseModel):
    """Opens `GET /v1/events?ticket=` once, for who asked for it."""

    ticket: str
    expires_in: int = Field(description="Seconds in which it may be used.", examples=[30])
