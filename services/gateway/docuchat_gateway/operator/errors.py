"""What can go wrong with an operator's requests."""

from docuchat_common.errors import NotFound


class ServiceUnknown(NotFound):
    """There is no service of this name that keeps dead letters."""

    code = "service_unknown"
