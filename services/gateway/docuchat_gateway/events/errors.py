"""What can go wrong with a user's stream of events."""

from docuchat_common.errors import Unauthenticated


class TicketInvalid(Unauthenticated):
    """The ticket was used, is older than 30 seconds, or never was one; ask for another at POST /v1/events/tickets."""

    code = "ticket_invalid"
